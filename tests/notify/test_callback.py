from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from tickover.core.callback import Callback, Posting, Told, may_be_private, postings, wanted
from tickover.core.row import RunRow
from tickover.notify.base import Envelope, NotifyError
from tickover.notify.callback import Notifier
from tickover.testing.http import double

KEY = "whsec_" + base64.b64encode(b"k" * 24).decode()
TOLD = Told(
    run="run-1", routine="r", key="k1", execution="completed", outcome="verified", cause="", exit_code=0,
    created=1000.0, finished=1001.0, attempts=1, more="http://server.test/api/v1/runs/run-1",
)  # fmt: skip


def posting(url: str, *, private: bool = True) -> Posting:
    return Posting(Callback(url=url, secret="s", routines=("r",)), private)


def leading_to(*addresses: str) -> Any:
    async def resolve(host: str, port: int) -> Sequence[str]:
        assert host == "ci.example.com"
        return addresses

    return resolve


async def send(url: str, *addresses: str, private: bool = True) -> str:
    notifier = Notifier(leading_to(*addresses))
    return await notifier.send(
        TOLD, posting(url, private=private), Envelope("id-1", time.time()), lambda _: KEY.encode()
    )


async def test_it_is_signed_and_says_what_was_proved() -> None:
    async with double() as there:
        port = there.url.rpartition(":")[2]
        await send(f"http://ci.example.com:{port}/hook?a=1", "127.0.0.1")
        [sent] = there.sent
    assert (sent.method, sent.path, sent.headers["host"]) == ("POST", "/hook", f"ci.example.com:{port}")
    told = Webhook(KEY).verify(sent.body, sent.headers)
    assert told == json.loads(sent.body)
    assert (told["type"], told["data"]["run"], told["data"]["outcome"]) == ("run.finished", "run-1", "verified")
    with pytest.raises(Exception, match="signature"):
        Webhook(KEY).verify(sent.body.replace(b"verified", b"failed"), sent.headers)


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("address", ["169.254.169.254", "100.64.0.1", "::ffff:169.254.169.254", "0.0.0.0"])
async def test_where_nothing_of_a_receiver_can_be_is_never_dialled(address: str, private: bool) -> None:
    with pytest.raises(NotifyError) as caught:
        await send("http://ci.example.com/hook", address, private=private)
    assert (caught.value.code, caught.value.again) == ("notify.address", False)


async def test_a_private_address_needs_the_instances_word_and_one_spoils_all() -> None:
    async with double() as there:
        url = f"http://ci.example.com:{there.url.rpartition(':')[2]}/"
        for addresses in (("127.0.0.1",), ("93.184.216.34", "127.0.0.1"), ("10.0.0.1",)):
            with pytest.raises(NotifyError) as caught:
                await send(url, *addresses, private=False)
            assert caught.value.code == "notify.address"
        assert there.sent == []


async def test_no_redirect_is_followed() -> None:
    async with double(lambda _: (302, {"location": "http://169.254.169.254/"}, b"")) as there:
        with pytest.raises(NotifyError) as caught:
            await send(f"http://ci.example.com:{there.url.rpartition(':')[2]}/", "127.0.0.1")
    assert (caught.value.code, len(there.sent)) == ("notify.refused", 1)


def row(**more: Any) -> RunRow:
    kept: dict[str, Any] = {
        "id": "run-1", "routine": "r", "title": "", "folder": "", "trigger": "api", "inputs": {}, "event_digest": None,
        "isolation": "sandbox", "created": 1.0, "last_seq": 1, "by": "service:ci (token k4zq2n7xwb)",
    }  # fmt: skip
    return RunRow.model_validate({**kept, **more})


def test_who_is_told() -> None:
    found = postings(
        {
            "mine": Callback(url="https://a.test/", secret="s", routines=("r",)),
            "theirs": Callback(url="https://b.test/", secret="s", routines=("other",)),
            "token": Callback(url="https://c.test/", secret="s", tokens=("k4zq2n7xwb",)),
        },
        (),
    )
    assert wanted(found, row()) == ["mine", "token"]
    assert wanted(found, row(by="person:a (token aaaaaaaaaa)")) == ["mine"]
    assert wanted(found, row(trigger="schedule")) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://a.test/", "routines": ["r"]},
        {"url": "https://a.test/"},
        {"url": "https://u:p@a.test/", "routines": ["r"]},
    ],
)
def test_what_is_no_callback(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Callback.model_validate({"secret": "s", **wrong})


def test_who_may_be_private() -> None:
    assert may_be_private("http://ci.example.com:8080/x", ("*.example.com",))
    assert not may_be_private("http://ci.example.com:8080/x", ("ci.example.com:9090", "example.com"))
