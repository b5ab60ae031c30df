"""Triggers: the entries of `on`. What starts a routine by itself."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, Tag
from pydantic_core import PydanticCustomError

from tickover.core.limits import Count, Duration, Period
from tickover.core.lookup import ROOTED_PATTERN
from tickover.core.matcher import Fields
from tickover.core.shape import ByShape, Flag, Form, Item, Line, Maybe, Name, OneKind, Strict, Text

EventPath = Annotated[str, Form(ROOTED_PATTERN, "a path into the event is written $.a.b")]
Header = Annotated[str, Form(r"[A-Za-z0-9-]{1,100}", "a header's name is letters, digits and -")]

PRESETS = {
    "hourly": "0 * * * *",
    "daily": "0 9 * * *",
    "weekdays": "0 9 * * 1-5",
    "weekly": "0 9 * * 1",
}
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DAYS = "sun|mon|tue|wed|thu|fri|sat"
_CRON = (
    ("minute", 0, 59, ""),
    ("hour", 0, 23, ""),
    ("day", 1, 31, ""),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)


def _cron(text: str) -> str:
    """Five fields of numbers, names, ranges, steps and lists; what a slot means is for the scheduler."""
    if text in PRESETS:
        return text
    fields = text.split(" ")
    if len(fields) != 5 or len(text) > 200:
        raise _cron_error(f"five fields with one space between them, or one of {', '.join(PRESETS)}")
    for field, (name, low, high, words) in zip(fields, _CRON, strict=True):
        names = words.split("|") if words else []
        for part in field.lower().split(","):
            found = re.fullmatch(r"(?:\*|(\w{1,3})(?:-(\w{1,3}))?)(?:/([0-9]{1,2}))?", part)
            if found is None:
                raise _cron_error(f"`{part}` is no {name}")
            first, last = ((names.index(end) + low if end in names else end) for end in found.group(1, 2))
            ends = [int(end) if str(end).isdecimal() else -1 for end in (first, last) if end is not None]
            if any(not low <= end <= high for end in ends) or ends != sorted(ends) or found[3] in {"0", "00"}:
                raise _cron_error(f"`{part}` is no {name} ({low} to {high})")
    return text


def _cron_error(text: str) -> PydanticCustomError:
    return PydanticCustomError("cron", "{text}", {"text": text})


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text:
        text = "a moment with its offset is needed: 2027-01-31T09:00:00+01:00"
        raise PydanticCustomError("moment", "{text}", {"text": text})
    return text


class Trigger(Item):
    """What all triggers are."""


class ScheduleTrigger(Trigger):
    """By the clock: a cron line, an interval, or one moment."""

    KIND: ClassVar[str] = "schedule"
    EXACTLY_ONE: ClassVar[tuple[str, ...]] = ("cron", "every", "at")

    cron: Maybe[Annotated[str, AfterValidator(_cron)]] = None
    every: Maybe[Period] = None
    at: Maybe[Annotated[str, AfterValidator(_moment)]] = None
    time_zone: Annotated[
        str, Form(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}", "a time zone is an IANA name")
    ] = "UTC"
    catch_up: Literal["latest", "all", "none"] = "latest"
    stagger: Duration = Duration(0)


class ApiTrigger(Trigger):
    """By `POST .../fire`."""

    KIND: ClassVar[str] = "api"


INPUT_FOLDER = "/tickover/inputs"
"""Where inputs that are files stand in the sandbox, each under its name."""


class FileInput(Strict):
    file: EventPath
    """The value at this path becomes a file in the sandbox; the input's value is the file's path."""


class Dedup(Strict):
    key: Annotated[tuple[EventPath, ...], Field(min_length=1)]
    within: Period


class Silence(Strict):
    after: Period


class Flow(Strict):
    per_hour: Count
    over: Literal["queue", "coalesce", "drop"] = "queue"


InputText = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[FileInput, Tag("<map>")],
    ByShape,
]
InputName = Annotated[str, Form(r"[A-Za-z0-9_-]{1,64}", "an input's name is letters, digits, _ and -")]


class EventTrigger(Trigger):
    """By a delivery from outside. What all of them share."""

    events: tuple[Line, ...] = ()
    when: Maybe[Fields] = None
    input: dict[InputName, InputText] = Field(default_factory=dict)
    debounce: Maybe[Period] = None
    group_by: Maybe[EventPath] = None
    dedup: Maybe[Dedup] = None
    silence: Maybe[Silence] = None
    limits: Maybe[Flow] = None


class GitHubTrigger(EventTrigger):
    """A GitHub event. `secret` is not needed for a GitHub App's own webhook."""

    KIND: ClassVar[str] = "github"

    repo: Annotated[str, Form(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}", "a repository is OWNER/NAME")]
    events: tuple[Annotated[str, Form(r"[a-z_]+(?:\.[a-z_]+)?", "an event is EVENT or EVENT.ACTION")], ...] = ()
    secret: Maybe[Name] = None
    from_fork: Maybe[Flag] = None


class ProviderTrigger(EventTrigger):
    """An event of a provider whose signature scheme is known."""

    secret: Name


class SnsTrigger(EventTrigger):
    """A message of one topic of AWS SNS. Amazon signs it, so there is no secret: the topic proves the sender."""

    KIND: ClassVar[str] = "sns"

    topic: Annotated[
        str,
        Form(
            r"arn:(?:aws|aws-cn|aws-us-gov):sns:[a-z]{2}(?:-[a-z0-9]{1,16}){1,4}:[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?",
            "a topic is arn:aws:sns:REGION:ACCOUNT:NAME",
        ),
    ]


Pieces = r"(?:[^{}]|\{body\}|\{header:[A-Za-z0-9-]+\}|\{kv:[A-Za-z0-9_-]+\}|\{body:[^{}\s]+\})+"
Piece = r"header:[A-Za-z0-9-]+|kv:[A-Za-z0-9_-]+|body:[^{}\s]+"


class Signature(Strict):
    """Where a signature stands and how it is written."""

    header: Header
    prefix: str = ""
    encoding: Literal["hex", "base64"] = "hex"
    split: Maybe[Annotated[str, Field(min_length=1, max_length=8)]] = None
    kv: Flag = False
    algo: Literal["hmac-sha256", "ed25519"] = "hmac-sha256"


class Token(Strict):
    header: Header
    prefix: str = ""


class Verify(Strict):
    """How a delivery proves who sent it: by a signature over its parts, or by a plain token."""

    EXACTLY_ONE: ClassVar[tuple[str, ...]] = ("sig", "token")

    sig: Maybe[Signature] = None
    token: Maybe[Token] = None
    signed: Annotated[str, Form(Pieces, "made of {body} {header:NAME} {kv:KEY} {body:PATH} and plain text")] = "{body}"
    ts: Maybe[Annotated[str, Form(Piece, "one of header:NAME, kv:KEY, body:PATH")]] = None
    ts_unit: Literal["s", "ms"] = "s"
    tolerance: Period = Duration(300)
    secret: Annotated[
        Annotated[Name, Tag("<text>")]
        | Annotated[Annotated[tuple[Name, ...], Field(min_length=2, max_length=2)], Tag("<list>")],
        ByShape,
    ]
    secret_form: Literal["text", "whsec"] = "text"  # noqa: S105 - how it is written, not what it is


class WebhookTrigger(EventTrigger):
    """Any other sender; its scheme is written down here."""

    KIND: ClassVar[str] = "webhook"

    verify: Verify
    id: Maybe[EventPath] = None


PROVIDERS = (
    "alertmanager",
    "bitbucket",
    "discord",
    "fathom",
    "gitlab",
    "grafana",
    "jira",
    "linear",
    "make",
    "pagerduty",
    "sentry",
    "shopify",
    "slack",
    "standard",
    "stripe",
    "svix",
    "twilio",
    "zapier",
)
TRIGGERS: dict[str, type[Trigger]] = {
    each.KIND: each for each in (ScheduleTrigger, ApiTrigger, GitHubTrigger, SnsTrigger, WebhookTrigger)
} | dict.fromkeys(PROVIDERS, ProviderTrigger)
TriggerItem = Annotated[Trigger, OneKind(TRIGGERS)]
