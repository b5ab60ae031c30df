"""What other schedulers keep, as routines: pure. What cannot be carried over is said, never dropped in silence.

Sources of the forms: crontab(5); `SKILL.md` of Claude's local scheduled tasks (front matter `name`, `description`, then
the prompt); the trigger object of Claude Code Routines (name, cron_expression in UTC or run_once_at, job_config).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from tickover.core.document import DocumentError, read_json
from tickover.core.errors import UsageError

_PRESETS: Final = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_ALIASES: Final = {"@midnight": "daily", "@annually": "yearly"}
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_PERCENT: Final = re.compile(r"(?<!\\)%")
_FENCE: Final = re.compile(r"`{3,}")
_CLAUDE: Final = "claude-code"
_NO_CONTRACT: Final = "it has no contract: until `expect` says what proves its work, every run is at best unverified"
_NO_BUDGET: Final = "`limits.cost_usd` or `limits.tokens` is needed"
_KEPT: Final = "its token: `tickover secret set {name} --hosts {host}` takes it"
_TWICE: Final = "its schedule there: switch that off, or it starts twice"
_SANDBOX: Final = "it runs in a sandbox: no home, no files of this machine but /usr; `repositories` brings files in"


@dataclass(frozen=True, slots=True)
class Imported:
    """A routine's folder name, its front matter and body, and what of the original is not in it."""

    name: str
    front: Mapping[str, Any]
    body: str
    left: tuple[str, ...] = field(default=(_NO_CONTRACT,))

    def text(self) -> str:
        """Return ROUTINE.md. Values are JSON, which is YAML."""
        lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in self.front.items()]
        return "\n".join(["---", *lines, "---", self.body.rstrip(), ""])


def from_crontab(text: str, time_zone: str) -> list[Imported]:
    """Read a user's crontab: one routine of agent `steps` per line. `time_zone` is that of its machine."""
    found: list[Imported] = []
    zone, environment = time_zone, dict[str, str]()
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        if variable := _VARIABLE.fullmatch(line):
            key, value = variable[1], variable[2].strip().strip("\"'")
            if key in {"CRON_TZ", "TZ"}:
                zone = value
            else:
                environment[key] = value
            continue
        found.append(_cron_line(number, line, zone, environment, {each.name for each in found}))
    return found


def _cron_line(number: int, line: str, zone: str, environment: Mapping[str, str], taken: set[str]) -> Imported:
    parts = line.split(None, 1 if line.startswith("@") else 5)
    fields = parts[:-1]
    cron = " ".join(fields)
    if len(parts) != (2 if line.startswith("@") else 6) or (cron.startswith("@") and cron not in _PRESETS):
        hint = "five fields and a command, or one of " + " ".join(sorted(_PRESETS))
        raise UsageError("import.crontab", f"line {number} cannot be carried over: {line[:120]!r}", hint=hint)
    command = parts[-1]
    if _PERCENT.search(command):
        text = f"line {number} gives its command an input with `%`, which no routine has"
        raise UsageError("import.crontab", text, hint="write the input into a file beside the command")
    cron = _ALIASES.get(cron, cron.removeprefix("@"))
    word = command.split()[0].rpartition("/")[2]
    left = [_NO_CONTRACT, _SANDBOX]
    front: dict[str, Any] = {
        "name": _free(word, taken),
        "description": f"Line {number} of a crontab.",
        "agent": "steps",
        "on": [{"schedule": {"cron": cron, "time_zone": zone}}],
    }
    kept = {key: value for key, value in environment.items() if key not in {"MAILTO", "SHELL", "PATH", "HOME"}}
    if kept:
        front["environment"] = {"env": kept}
    if environment.get("MAILTO"):
        left.append("MAILTO: `notify` with a target of kind `email` tells what was proved")
    return Imported(str(front["name"]), front, _fenced(command.replace("\\%", "%")), tuple(left))


def from_scheduled_task(front: Mapping[str, Any], body: str) -> Imported:
    """Read a local scheduled task of Claude: its prompt becomes the routine's. When it runs is kept elsewhere."""
    if not isinstance(front.get("name"), str) or not body.strip():
        raise UsageError("import.task", "a scheduled task has a `name` and a prompt")
    name = _free(str(front["name"]), set())
    told: dict[str, Any] = {"name": name, "description": _line(front.get("description")), "agent": _CLAUDE}
    left = (
        _NO_CONTRACT,
        "its schedule: it stands in the app, not in the file",
        "`limits.cost_usd` or `limits.tokens` is needed",
    )
    return Imported(name, told, body, left)


def from_claude_routine(raw: bytes, fire: str = "") -> Imported:
    """Read a routine as the service of Claude Code Routines answers with it. Raises UsageError.

    With `fire`, the address of its `/fire`, it goes on running there: only what starts it and the verdict are here.
    """
    try:
        told = read_json(raw)
    except DocumentError as error:
        raise UsageError("import.routine", f"it is no JSON: {error}") from None
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        raise UsageError(
            "import.routine", "there is no `name` in it", hint="it is the object of one routine, not a list"
        )
    session = _at(told, "job_config", "ccr", "session_context")
    name = _free(str(told["name"]), set())
    front: dict[str, Any] = {"name": name, "description": _line(told["name"]), "agent": "remote" if fire else _CLAUDE}
    if fire:
        front |= {"remote": {"to": "claude-routine", "url": fire, "credential": name}, "on": _starts(told)}
        there = (_NO_CONTRACT, _KEPT.format(name=name, host=urlsplit(fire).netloc), _TWICE)
        return Imported(name, front, "The prompt stays where the work is done; here is what proves it.", there)
    left = [_NO_CONTRACT, _NO_BUDGET]
    if isinstance(model := _at(session, "model"), str):
        front["model"] = model
    repositories: dict[str, dict[str, str]] = {}
    for url in _urls(session):
        key = _free(url.rstrip("/").rpartition("/")[2].removesuffix(".git"), set(repositories))
        repositories[key] = {"url": url}
    if repositories:
        front["repositories"] = repositories
    front["on"] = _starts(told)
    if told.get("cron_expression"):
        left.append("its schedule is kept in UTC there; name a `time_zone` if wall time was meant")
    left += [
        f"the connector {_line(_at(each, 'name'))} ({_line(_at(each, 'url'))})"
        for each in _list(told.get("mcp_connections"))
    ]
    if tools := _list(_at(session, "allowed_tools")):
        left.append(f"its tools: {', '.join(_line(each) for each in tools)}")
    if told.get("enabled") is False:
        left.append("it was switched off; `tickover routine pause` does so here")
    prompt = "\n\n".join(_prompts(told))
    if not prompt.strip():
        raise UsageError("import.routine", "there is no prompt in it", hint="job_config.ccr.events")
    return Imported(name, front, prompt, tuple(left))


def _starts(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what starts it, as `on`."""
    on: list[dict[str, Any]] = []
    if isinstance(cron := told.get("cron_expression"), str) and cron:
        on.append({"schedule": {"cron": cron, "time_zone": "UTC"}})
    if isinstance(at := told.get("run_once_at"), str) and at:
        on.append({"schedule": {"at": at}})
    return [*on, {"api": {}}]


def _urls(session: Any) -> Iterator[str]:
    for source in _list(_at(session, "sources")):
        if isinstance(url := _at(source, "git_repository", "url"), str):
            yield url


def _prompts(told: Any) -> Iterator[str]:
    for event in _list(_at(told, "job_config", "ccr", "events")):
        content = _at(event, "data", "message", "content")
        if isinstance(content, str):
            yield content
        for part in _list(content):
            if isinstance(text := _at(part, "text"), str):
                yield text


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _line(value: Any) -> str:
    return " ".join(str(value or "").split())[:200]


def _free(word: str, taken: set[str]) -> str:
    """Make a name of it that is not taken."""
    name = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:50] or "imported"
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name}-{number}"
    return free


def _fenced(command: str) -> str:
    longest = max((len(each) for each in _FENCE.findall(command)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}bash\n{command}\n{fence}"
