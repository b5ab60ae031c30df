"""The child that maps events to inputs. It trusts nothing it reads, and nobody trusts it.

Started with an empty environment, it loads the two languages, tries them once, and then gives up what it will not
need: new files and sockets (no free descriptor), a network, memory beyond its limit. Each job has a budget of CPU time
that the kernel enforces, also while a library holds the interpreter's lock. A job is one line of JSON with the event's
bytes behind it; an answer is one line of JSON.

    {"size": BYTES, "templates": {NAME: LIQUID}, "jsonata": TEXT or null}  ->  {"ok": {NAME: VALUE}} or {"code", "says"}
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

CPU_SECONDS: Final = 0.25
MEMORY: Final = 512 << 20
OUTPUT: Final = 64 << 10
"""Bytes of one value that a template may make."""

CACHED: Final = 200
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

Render = Callable[[Any], Any]


def liquid() -> Callable[[str], Render]:
    """Load Liquid: limits on loops, output and names, and an undefined value is an error."""
    from liquid import Environment, StrictUndefined  # noqa: PLC0415 - it may not be installed

    class Bounded(Environment):
        loop_iteration_limit = 10_000
        output_stream_limit = OUTPUT
        local_namespace_limit = 1 << 20
        context_depth_limit = 20

    environment = Bounded(undefined=StrictUndefined)

    def compile_text(text: str) -> Render:
        template = environment.from_string(text)
        return lambda event: template.render(event=event)

    return compile_text


def jsonata() -> Callable[[str], Render]:
    """Load JSONata; the event is the input document."""
    import jsonatapy  # noqa: PLC0415 - it may not be installed

    def compile_text(text: str) -> Render:
        expression = jsonatapy.compile(text)
        return lambda event: expression.evaluate(event)  # noqa: PLW0108 - a bound method of a Rust object

    return compile_text


WARM: Final = (
    "{% assign a = event.a | split: ',' %}{% for b in a %}{{ b | upcase | default: 'x' | date: '%Y' }}{% endfor %}"
    "{{ event.n | divided_by: 100.0 | round: 2 }}{{ event.a | truncate: 5 | escape | strip | replace: 'a', 'b' }}"
)


def compilers() -> dict[str, Callable[[str], Render]]:
    """Load what is installed and try it, so that nothing is loaded later."""
    found: dict[str, Callable[[str], Render]] = {}
    event = {"a": "2031-01-01,2", "n": 250}
    with contextlib.suppress(ImportError):
        found["liquid"] = liquid()
        found["liquid"](WARM)(event)
    with contextlib.suppress(ImportError):
        found["jsonata"] = jsonata()
        found["jsonata"]('{"a": a, "n": $string(n) & "x", "l": $split(a, ",")}')(event)
    return found


def give_up() -> None:
    """Let go of what no job needs. A user namespace may be refused; without a free descriptor there is no socket."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def answer(job: dict[str, Any], body: bytes, known: dict[str, Any], cache: dict[tuple[str, str], Render]) -> Any:
    """Do one job."""

    def render(language: str, text: str, event: Any) -> Any:
        if language not in known:
            return _Failed("mapping.not_installed", f"{language} is not installed here: pip install 'tickover[relay]'")
        made = cache.get((language, text))
        if made is None:
            if len(cache) >= CACHED:
                cache.clear()
            made = cache[language, text] = known[language](text)
        return made(event)

    event = json.loads(body)
    if job["jsonata"] is not None:
        return render("jsonata", job["jsonata"], event)
    values: dict[str, Any] = {}
    for name, text in job["templates"].items():
        values[name] = render("liquid", text, event)
        if isinstance(values[name], _Failed):
            return values[name]
    return values


class _Failed:
    def __init__(self, code: str, says: str) -> None:
        self.code, self.says = code, says


def serve() -> None:
    """Answer jobs until the parent closes its end."""
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    known = compilers()
    give_up()
    cache: dict[tuple[str, str], Render] = {}
    outgoing.write(b'{"ready":true}\n')
    outgoing.flush()
    while line := incoming.readline():
        job = json.loads(line)
        body = incoming.read(job["size"])
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            made = answer(job, body, known, cache)
            told = {"code": made.code, "says": made.says} if isinstance(made, _Failed) else {"ok": made}
            text = json.dumps(told)
        except MemoryError:
            text = json.dumps({"code": "mapping.memory", "says": "the mapping needs too much memory"})
        except Exception as error:  # noqa: BLE001 - whatever a language throws is its answer
            says = f"{type(error).__name__}: {error}"[:500]
            text = json.dumps({"code": "mapping.failed", "says": says})
        signal.setitimer(signal.ITIMER_PROF, 0)
        outgoing.write(text.encode() + b"\n")
        outgoing.flush()


if __name__ == "__main__":
    os.chdir("/")
    sys.set_int_max_str_digits(4300)
    serve()
