"""Text from outside, made fit to be shown. What is stored stays as it came; the faces call these."""

from __future__ import annotations

import re

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]{0,64}[ -/]{0,16}[@-~]"  # CSI: colours, cursor, modes
    r"|\x1b[\]PX^_][^\x07\x1b\x9c\n]{0,4096}(?:\x07|\x9c|\x1b\\)"  # OSC, DCS, SOS, PM, APC: titles, links, clipboard
    r"|\x1b[ -/]{1,16}[0-~]"  # character sets
    r"|\x1b[0-Z\\^-~]"  # the two-byte ones
)
_LINE_ENDS = re.compile("\r\n?|\u2028|\u2029|\x85")
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi and invisible ones
    "\U000e0000-\U000e007f]"  # tags: text that only a machine sees
)
_HALVES = re.compile("[\ud800-\udfff]")


def printable(text: str) -> str:
    """Return `text` without anything that moves a cursor, changes direction or cannot be seen.

    Whole escape sequences go, not only their first byte; what is left of an unfinished one stays readable. Tabs
    and newlines stay, a lone carriage return becomes a newline (nothing is overwritten), half a surrogate pair
    becomes U+FFFD. Takes time linear in the text.
    """
    return _HALVES.sub("\ufffd", _HIDDEN.sub("", _LINE_ENDS.sub("\n", _SEQUENCES.sub("", text))))


def one_line(text: str, limit: int = 200) -> str:
    """Return `text` as one printable line of at most `limit` characters, white space collapsed."""
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
