"""Standard streams as they are found in the wild: closed, cut off, on a full disk."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO, cast


def open_closed() -> None:
    """Open the streams that the caller closed (`>&-`), lest the next file that is opened gets the number of one."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8"))


class Lasting:
    """A stream that can be written to even when nobody reads it any more; what was `lost` says why not."""

    def __init__(self, file: TextIO) -> None:
        self.lost: OSError | None = None
        self._file = file

    def write(self, text: str) -> int:
        self._do(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        self._do(self._file.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _do(self, what: Callable[[], object]) -> None:
        if self.lost is None:
            try:
                what()
            except OSError as error:
                self.lost = error

    @property
    def complaint(self) -> str:
        """Why not all could be written; a reader that went away (`| head`) is none."""
        return "" if self.lost is None or self.lost.errno == errno.EPIPE else self.lost.strerror or str(self.lost)


def lasting_stdout() -> Lasting:
    """Make stdout a stream that lasts: the work in hand goes on, whoever listens."""
    stream = Lasting(sys.stdout)
    sys.stdout = cast("TextIO", stream)
    return stream


def settle_stdout() -> None:
    """Write out what stdout still holds, or let it go: the interpreter would complain of it at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        lasting_stdout()
