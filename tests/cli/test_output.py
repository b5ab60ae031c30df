from __future__ import annotations

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from tickover.cli.blocks import Line, Plain
from tickover.cli.output import json_text, screen


def test_no_terminal_is_a_plain_screen() -> None:
    assert isinstance(screen(io.StringIO()), Plain)


def test_letters_that_the_encoding_lacks_are_replaced_not_raised() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    screen(out).show(Line("✔ verified"))
    assert raw.getvalue() == b"? verified\n"


@given(st.text())
def test_json_is_printable_ascii_and_loses_nothing(text: str) -> None:
    written = json_text({text: text})
    assert all(" " <= letter <= "~" for letter in written)
    assert json.loads(written) == {text: text}
