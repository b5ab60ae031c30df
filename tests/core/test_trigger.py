from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tickover.core.trigger import PRESETS, Trigger, TriggerItem, WebhookTrigger

ITEM: TypeAdapter[Trigger] = TypeAdapter(TriggerItem)


@pytest.mark.parametrize(
    "cron",
    [
        *PRESETS,
        *PRESETS.values(),
        "*/5 0-23/2 1,15 jan-dec mon,wed,7",
        "59 23 31 12 0",
        "0 0 * * SUN",
        "0 0 1 * mon-fri",
    ],
)
def test_cron_lines(cron: str) -> None:
    assert ITEM.validate_python({"schedule": {"cron": cron}}).kind == "schedule"


@pytest.mark.parametrize(
    "cron",
    [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *",
        "*/0 * * * *", "a * * * *", "* * * * monday", "jan * * * *", "*  * * * *", " * * * * *", "@daily", "1,,2 * * * *",
        "* * * * *\n", "-1 * * * *", "1- * * * *", "* * * * L", "² * * * *", "1" * 300,
    ],
)  # fmt: skip
def test_what_is_no_cron_line(cron: str) -> None:
    with pytest.raises(ValidationError):
        ITEM.validate_python({"schedule": {"cron": cron}})


@pytest.mark.parametrize("at", ["2031-05-01T09:00:00Z", "2031-05-01T09:00:00+02:00", "2031-05-01T09:00:00.5-11:30"])
def test_moments(at: str) -> None:
    assert ITEM.validate_python({"schedule": {"at": at}})


@pytest.mark.parametrize(
    "at", ["2031-05-01T09:00:00", "2031-05-01", "tomorrow", "2031-02-30T00:00:00Z", "2031-05-01 09:00:00Z", ""]
)
def test_what_is_no_moment(at: str) -> None:
    with pytest.raises(ValidationError):
        ITEM.validate_python({"schedule": {"at": at}})


def test_providers_are_one_class_under_many_names() -> None:
    stripe, svix = (ITEM.validate_python({name: {"secret": "s"}}) for name in ("stripe", "svix"))
    assert (stripe.kind, svix.kind) == ("stripe", "svix")
    assert stripe != svix
    assert ITEM.dump_python(svix, exclude_unset=True) == {"svix": {"secret": "s", "events": [], "input": {}}}


@pytest.mark.parametrize(
    "verify",
    [
        {"sig": {"header": "x-a"}, "secret": "s"},
        {"sig": {"header": "x-a", "kv": True, "split": ","}, "signed": "{kv:t}.{body}", "ts": "kv:t", "secret": "s"},
        {
            "sig": {"header": "x-a"},
            "signed": "v0:{header:x-t}:{body}",
            "ts": "header:x-t",
            "tolerance": "60s",
            "secret": "s",
        },
        {"sig": {"header": "x-a"}, "ts": "body:a.b", "ts_unit": "ms", "secret": ["a", "b"]},
        {"token": {"header": "authorization", "prefix": "Bearer "}, "secret": "s"},
    ],
)
def test_ways_to_verify(verify: dict[str, Any]) -> None:
    trigger = ITEM.validate_python({"webhook": {"verify": verify}})
    assert isinstance(trigger, WebhookTrigger)


@pytest.mark.parametrize(
    "verify",
    [
        {},
        {"secret": "s"},
        {"sig": {"header": "x-a"}},
        {"sig": {"header": "x-a"}, "token": {"header": "x"}, "secret": "s"},
        {"sig": {"header": "x a"}, "secret": "s"},
        {"sig": {"header": "x-a", "encoding": "base32"}, "secret": "s"},
        {"sig": {"header": "x-a", "algo": "md5"}, "secret": "s"},
        {"sig": {"header": "x-a"}, "signed": "{url}", "secret": "s"},
        {"sig": {"header": "x-a"}, "signed": "", "secret": "s"},
        {"sig": {"header": "x-a"}, "ts": "{header:x}", "secret": "s"},
        {"sig": {"header": "x-a"}, "tolerance": 300, "secret": "s"},
        {"sig": {"header": "x-a"}, "secret": ["a", "b", "c"]},
        {"sig": {"header": "x-a"}, "secret": "$SECRET"},
    ],
)
def test_ways_that_verify_nothing(verify: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ITEM.validate_python({"webhook": {"verify": verify}})
