"""`tickover run --remote`: the same run on a server, shown as it happens there. The exit code is what was proved."""

from __future__ import annotations

import secrets
import sys
from contextlib import suppress

from tickover.cli.blocks import Line
from tickover.cli.failure import INTERRUPTED
from tickover.cli.output import print_json_line, screen
from tickover.cli.remote import Remote, known_login
from tickover.cli.transcript import Transcript
from tickover.cli.wire import event_json
from tickover.core.errors import TickoverError, UsageError


def run_remote(routine: str, words: dict[str, str], event: bytes | None, *, as_json: bool, no_color: bool) -> int:
    """Start the routine of that name on the server of the login, follow it, and return the exit code."""
    text = None
    if event is not None:
        try:
            text = event.decode("utf-8")
        except UnicodeDecodeError:
            raise UsageError("event.no_text", "an event that is sent to a server is UTF-8 text") from None
    with Remote(*known_login()) as remote:
        run = str(remote.fire(routine, words, text, f"cli-{secrets.token_hex(16)}")["run"])
        interrupted = _show(remote, run, as_json=as_json, no_color=no_color)
        row = remote.row(run)
        if as_json:
            print_json_line({"type": "run", "run": run, "data": row})
        code = row["exit_code"] if row["exit_code"] is not None else 1
        return INTERRUPTED if interrupted else int(code)


def _show(remote: Remote, run: str, *, as_json: bool, no_color: bool) -> bool:
    """Show the journal to its end; the first Ctrl-C cancels the run there, the second ends only this process."""
    out = screen(no_color=no_color)
    transcript = Transcript(out, lambda digest: remote.blob(run, digest), live=True)
    after, interrupted = 0, False
    try:
        while True:
            try:
                for event in remote.follow(run, after):
                    after = event.seq
                    if as_json:
                        print_json_line(event_json(event))
                    else:
                        transcript.event(event)
                return interrupted
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                screen(sys.stderr).show(Line("cancelling; once more leaves it to the server"))
                with suppress(TickoverError):  # it has ended meanwhile: its end is what follows
                    remote.cancel(run)
    finally:
        out.close()
