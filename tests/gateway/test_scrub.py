"""However a stream is cut, no form of a secret survives in it, and all else passes as it was."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.gateway.scrub import Forms, Scrubber, forms

SECRET = b'sk-ant/Gr\xc3\xbcn+"\\4 \xf0\x9f\x94\x91x'
PLAIN = b"xoxb-1234567890-abcDEF"


def json_escaped(secret: bytes) -> bytes:
    return json.dumps(secret.decode()).strip('"').encode() if _is_text(secret) else secret


def _is_text(secret: bytes) -> bool:
    try:
        secret.decode()
    except UnicodeDecodeError:
        return False
    return True


def every_sign(secret: bytes, form: str) -> bytes:
    return "".join(form % byte for byte in secret).encode()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "exact": bytes,
    "base64, 0": base64.b64encode,
    "base64, 1": lambda secret: base64.b64encode(b"u" + secret + b"tail"),
    "base64, 2": lambda secret: base64.b64encode(b"me:" * 6 + b"us" + secret + b"t"),
    "base64, padded otherwise": lambda secret: base64.b64encode(secret + b"ab"),
    "url-safe, 0": base64.urlsafe_b64encode,
    "url-safe, 1": lambda secret: base64.urlsafe_b64encode(b"\xff" + secret + b"\xff"),
    "url-safe, 2": lambda secret: base64.urlsafe_b64encode(b"\xff\xff" + secret),
    "url": lambda secret: quote(secret, safe="").encode(),
    "url, lower case": lambda secret: re.sub(rb"%..", lambda match: match[0].lower(), quote(secret, safe="").encode()),
    "url, slash kept": lambda secret: quote(secret).encode(),
    "url of a form": lambda secret: quote_plus(secret).encode(),
    "url, every sign": lambda secret: every_sign(secret, "%%%02x"),
    "hex": lambda secret: secret.hex().encode(),
    "HEX": lambda secret: secret.hex().upper().encode(),
    "json": json_escaped,
    "json, slashes too": lambda secret: json_escaped(secret).replace(b"/", b"\\/"),
    "json, no ascii": lambda secret: (
        json.dumps(secret.decode(), ensure_ascii=False).strip('"').encode() if _is_text(secret) else secret
    ),
    "json, every ascii sign": lambda secret: b"".join(
        b"\\u%04X" % byte if byte < 128 else bytes([byte]) for byte in secret
    ),
    "base64 in json": lambda secret: base64.b64encode(secret).replace(b"/", b"\\/"),
    "base64 in a url": lambda secret: quote(base64.b64encode(secret), safe="").encode(),
}


def scrub(stream: bytes, cuts: list[int], *secrets: bytes) -> bytes:
    scrubber = Scrubber(secrets)
    edges = [0, *sorted(cuts), len(stream)]
    out = b"".join(scrubber.feed(stream[start:stop]) for start, stop in pairwise(edges))
    return out + scrubber.finish()


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("secret", [SECRET, PLAIN])
def test_every_form_is_blotted_at_every_single_cut(encode: Callable[[bytes], bytes], secret: bytes) -> None:
    stream = b'{"before": "' + encode(secret) + b'", "after": 1}'
    once = scrub(stream, [], secret)
    assert once.startswith(b'{"before": "')
    assert once.endswith(b'", "after": 1}')
    assert len(once) == len(stream)
    longest = max(len(run) for run in re.findall(rb"([*#~^]+)", once))
    assert longest >= len(encode(secret)) - 36  # what base64 shares with its neighbours stays
    for cut in range(1, len(stream)):
        assert scrub(stream, [cut], secret) == once
    assert scrub(stream, list(range(1, len(stream))), secret) == once


secrets = st.binary(min_size=6, max_size=24) | st.text(min_size=6, max_size=16).map(
    lambda text: text.encode("utf-8", "replace")
)


def readings(text: bytes) -> list[bytes]:
    """Read a text as an attacker would: plain, percent-decoded, as a form, as JSON."""
    found = [text, unquote_to_bytes(text), unquote_to_bytes(text.replace(b"+", b" "))]
    unescaped = re.sub(
        rb"(?:\\u[0-9A-Fa-f]{4})+",
        lambda match: json.loads(b'"%b"' % match[0]).encode("utf-8", "surrogatepass"),
        text,
    )
    found.append(re.sub(rb'\\(["\\/bfnrt])', lambda match: json.loads(b'"%b"' % match[0]).encode(), unescaped))
    return found


@given(secrets, st.sampled_from(list(ENCODERS)), st.binary(max_size=12), st.binary(max_size=12), st.data())
def test_no_form_survives_however_the_stream_is_cut(
    secret: bytes, form: str, before: bytes, after: bytes, data: st.DataObject
) -> None:
    # A backslash or percent sign right before would be part of another text than the form.
    stream = before.replace(b"\\", b"").replace(b"%", b"") + b" " + ENCODERS[form](secret) + after
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    out = scrub(stream, cuts, secret)
    assert len(out) == len(stream)
    for reading in readings(out):
        assert not [each for each in forms(secret) if each in reading]


@given(st.lists(secrets, min_size=2, max_size=3), st.data())
def test_secrets_that_overlap_leave_nothing(several: list[bytes], data: st.DataObject) -> None:
    several.append(several[0][-4:] + several[1][:4])
    stream = data.draw(st.lists(st.sampled_from(several), min_size=1, max_size=5).map(b"".join))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    out = scrub(stream, cuts, *several)
    for secret in several:
        assert secret not in out


@given(st.binary(max_size=300), st.data())
def test_what_holds_no_secret_passes_as_it_was(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    assert scrub(stream, cuts, SECRET, PLAIN) == stream


repeating = st.lists(st.sampled_from([b"a", b"b", b"ab", b"ababa", b"c"]), max_size=25)
escaped = st.lists(
    st.sampled_from([b"a", b"\\", b"\\\\", b"\\n", b"n", b"%61", b"%5c", b"\\u0061", b"\\u005c", b"u0061", b"%2561"]),
    max_size=40,
)


@given((repeating | escaped).map(b"".join), st.data())
def test_the_cuts_change_nothing(stream: bytes, data: st.DataObject) -> None:
    """Secrets that overlap themselves, and half escapes at the borders: the hardest case for what is held back."""
    secrets = (b"ababab", b"aabaab", b"aaaaaa", b"\\a\\a\\a", b"\na\na\na", b"aaa\n\\\n")
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    assert scrub(stream, cuts, *secrets) == scrub(stream, [], *secrets)


def test_a_cut_inside_an_escape_does_not_make_another_text_of_it() -> None:
    stream = b"%%aa%61%61%61%61"
    assert scrub(stream, [4], b"aaaaaa") == scrub(stream, [], b"aaaaaa") == stream


def test_the_rest_of_a_found_secret_is_blotted_though_it_could_begin_another() -> None:
    scrubber = Scrubber([b"ababab"])
    assert scrubber.feed(b"ababab") == b"**"
    assert scrubber.feed(b"b") == b"****b"


def test_an_event_is_not_held_back() -> None:
    scrubber = Scrubber([PLAIN])
    assert scrubber.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert scrubber.feed(b"data: xoxb-12") == b"data: "
    assert scrubber.feed(b"34x\n\n") == b"xoxb-1234x\n\n"
    assert scrubber.hits == 0


def test_what_is_held_back_is_bounded() -> None:
    scrubber = Scrubber([b"a" * 50])
    passed = len(scrubber.feed(b"\\u0061" * 40))
    assert passed >= 0
    passed += len(scrubber.feed(b"b" * 10_000))
    assert 10_000 + 240 - passed == 0


def test_hits_are_counted_once() -> None:
    scrubber = Scrubber([PLAIN])
    for piece in (b"a " + PLAIN[:5], PLAIN[5:] + b" b " + PLAIN, b""):
        scrubber.feed(piece)
    scrubber.finish()
    assert scrubber.hits == 2
    assert Scrubber([PLAIN]).whole(b"Bearer " + PLAIN) == b"Bearer " + b"*" * len(PLAIN)


def test_nothing_to_hide_and_too_little_to_hide() -> None:
    assert Scrubber([]).whole(b"anything") == b"anything"
    with pytest.raises(ValueError, match="fewer than 6"):
        Scrubber([b"short"])


ALPHABET = st.sampled_from([*'xoab-%+\\u0123456789fFnN"/ ', "\\u00", "%7", "xoxb-12", "eG94", "786f"])


@given(st.lists(ALPHABET, max_size=60), st.lists(st.integers(0, 120), max_size=4))
def test_the_first_look_changes_nothing_but_the_time(pieces: list[str], cuts: list[int]) -> None:
    stream = "".join(pieces).encode()
    secret = b"xoxb-1/ "
    closely = Forms([secret])
    closely.glance.certain = False
    outs = []
    for known in (Forms([secret]), closely):
        scrubber = Scrubber(known)
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        outs.append(b"".join(scrubber.feed(stream[start:stop]) for start, stop in pairwise(edges)) + scrubber.finish())
    assert outs[0] == outs[1]


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("secret", [SECRET, PLAIN])
def test_the_first_look_sees_every_form(encode: Callable[[bytes], bytes], secret: bytes) -> None:
    known = Forms([secret])
    assert not known.glance.certain or known.glance.finds(b"x" * 1000 + encode(secret) + b"y")
    assert known.glance.certain or secret is SECRET
