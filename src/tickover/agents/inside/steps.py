"""Run the blocks of a routine in order, each in a process of its own; stop at the first that fails.

usage: python3 -I steps.py STEPS.json

Every line on stdout is one JSON object: {"tickover": "output", step, stream, text}, {"tickover": "dropped", step,
stream, bytes}, {"tickover": "step", id, exit, signal, seconds, timed_out}, at last {"tickover": "end", exit}. A block
may write such lines itself; nobody believes them. Exits with the failing block's code: 124 = its time was up, 128 + N =
signal N.
"""

from __future__ import annotations

import codecs
import json
import os
import selectors
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False  # as in typing, whose import a start need not pay for
if TYPE_CHECKING:
    from typing import IO, Any

INTERPRETERS = {
    "bash": ["bash", "-euo", "pipefail"],
    "sh": ["sh", "-eu"],
    "python": ["python3"],
    "js": ["node"],
}
CHUNK = 1 << 15
DRAIN = 1 << 20  # more than a pipe holds: what a block left is read, a daemon's flood is not waited for


def say(**message: object) -> None:
    """Write one line, whole."""
    rest = memoryview(json.dumps(message).encode() + b"\n")
    while rest:
        rest = rest[os.write(1, rest) :]


class Pipe:
    """One output stream of one block. It stays open after the block: its background processes may still write."""

    def __init__(self, runner: Runner, step: str, stream: str, file: IO[bytes]) -> None:
        self.runner, self.step, self.stream, self.file = runner, step, stream, file
        self.dropped = 0
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        os.set_blocking(file.fileno(), False)

    def pump(self) -> int | None:
        """Pass on what is there. Return the number of bytes, 0 at the end, None if there is nothing yet."""
        try:
            data = os.read(self.file.fileno(), CHUNK)
        except BlockingIOError:
            return None
        if data and self.runner.room <= 0:  # nobody keeps it: the writer is not held up by whoever reads us
            self.dropped += len(data)
            return len(data)
        self.runner.room -= len(data)
        text = self.decoder.decode(data, final=not data)
        if text:
            say(tickover="output", step=self.step, stream=self.stream, text=text)
        return len(data)


class Runner:
    """Waits for output, ends of children and deadlines in one place."""

    def __init__(self, cwd: str, output: int) -> None:
        self.cwd = cwd
        self.room = output + 1  # bytes of output still passed on, one more than are kept
        self.selector = selectors.DefaultSelector()
        self.child_ended, wakeup = os.pipe()
        for end in (self.child_ended, wakeup):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        self.selector.register(self.child_ended, selectors.EVENT_READ, None)

    def run(self, step: dict[str, Any]) -> int:
        """Run one block; say how it ended; return its exit code."""
        begun = time.monotonic()
        argv = [*INTERPRETERS[step["lang"]], step["file"]]
        try:
            child = subprocess.Popen(
                argv,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            code = 127 if isinstance(error, FileNotFoundError) else 126
            text = f"tickover: cannot start `{argv[0]}`: {error}\n"
            say(tickover="output", step=step["id"], stream="stderr", text=text)
            self.ended(step, code, begun)
            return code
        streams = {"stdout": child.stdout, "stderr": child.stderr}
        pipes = [Pipe(self, step["id"], name, file) for name, file in streams.items() if file]
        for pipe in pipes:
            self.selector.register(pipe.file, selectors.EVENT_READ, pipe)
        timed_out = self.wait(child, step.get("timeout"), begun)
        for pipe in self.heard():  # those of earlier blocks too: what was written before this end is told before it
            self.drain(pipe)
        for pipe in pipes:
            if pipe.dropped:
                say(tickover="dropped", step=step["id"], stream=pipe.stream, bytes=pipe.dropped)
        if timed_out:
            text = f"tickover: step `{step['id']}` was stopped after {step['timeout']:g} s\n"
            say(tickover="output", step=step["id"], stream="stderr", text=text)
        code = child.returncode
        if timed_out:
            self.ended(step, None, begun, timed_out=True)
            return 124
        if code < 0:
            self.ended(step, None, begun, signal=-code)
            return 128 - code
        self.ended(step, code, begun)
        return code

    def wait(self, child: subprocess.Popen[bytes], timeout: float | None, begun: float) -> bool:
        """Pass on output until the child has ended; return whether its time was up."""
        timed_out = False
        while child.poll() is None:
            left = None if timeout is None or timed_out else begun + timeout - time.monotonic()
            if left is not None and left <= 0:
                os.killpg(child.pid, signal.SIGKILL)
                timed_out = True
                continue
            for key, _ in self.selector.select(left):
                if key.data is None:
                    os.read(self.child_ended, CHUNK)
                elif key.data.pump() == 0:
                    self.close(key.data)
        return timed_out

    def heard(self) -> list[Pipe]:
        """Return the pipes that somebody may still write into."""
        return [key.data for key in self.selector.get_map().values() if key.data is not None]

    def drain(self, pipe: Pipe) -> None:
        """Pass on what was left in the pipe."""
        passed = 0
        while not pipe.file.closed and passed < DRAIN:
            count = pipe.pump()
            if count == 0:
                self.close(pipe)
            elif count is None:
                return
            else:
                passed += count

    def close(self, pipe: Pipe) -> None:
        self.selector.unregister(pipe.file)
        pipe.file.close()

    def ended(self, step: dict[str, Any], code: int | None, begun: float, **how: object) -> None:
        seconds = round(time.monotonic() - begun, 3)
        say(tickover="step", id=step["id"], exit=code, seconds=seconds, **how)


def main(path: str) -> int:
    """Run all blocks; return the exit code."""
    with open(path, encoding="utf-8") as file:
        task = json.load(file)
    runner = Runner(task["cwd"], task["output"])
    code = 0
    for step in task["steps"]:
        code = runner.run(step)
        if code:
            break
    say(tickover="end", exit=code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
