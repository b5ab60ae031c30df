"""`python -m tickover.gateway.sealing FOLDER NAME KIND`: the value on stdin, what is kept of it on stdout.

A server takes values over HTTP and holds no key to credentials: this process, which lives for one value, reads it.
"""

from __future__ import annotations

import subprocess
import sys

from tickover.core.errors import TickoverError
from tickover.gateway.secrets import SecretError, key_for, seal

_SECONDS = 60


def seal_apart(folder: str, name: str, kind: str, value: bytes) -> bytes:
    """Seal in a process of its own. Raises SecretError; no text of it holds anything of the value."""
    argv = [sys.executable, "-I", "-m", "tickover.gateway.sealing", folder, name, kind]
    try:
        done = subprocess.run(argv, input=value, capture_output=True, check=False, timeout=_SECONDS, env={})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SecretError("secrets.sealing", f"the value could not be sealed: {type(error).__name__}") from None
    if done.returncode:
        text = f"the key cannot be used ({done.stderr.decode('ascii', 'replace').strip()[:80]})"
        raise SecretError("secrets.sealing", text)
    return done.stdout


def main(arguments: list[str]) -> int:
    """Do it once."""
    folder, name, kind = arguments
    try:
        sealed = seal(key_for(folder, kind), name=name, kind=kind, value=sys.stdin.buffer.read())
    except TickoverError as error:
        sys.stderr.write(error.code)
        return 1
    sys.stdout.buffer.write(sealed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
