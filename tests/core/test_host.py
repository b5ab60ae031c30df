from __future__ import annotations

import string

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tickover.core.host import HostError, HostPattern, canonical, is_internal

SAME = {
    "api.example.com": "api.example.com",
    "API.Example.COM": "api.example.com",
    "api.example.com.": "api.example.com",
    "localhost": "localhost",
    "a-b.c1.test": "a-b.c1.test",
    "r4---sn-x.example.com": "r4---sn-x.example.com",
    "1.example.com": "1.example.com",
    "bücher.example": "xn--bcher-kva.example",
    "BÜCHER.example": "xn--bcher-kva.example",
    "bu\u0308cher.example": "xn--bcher-kva.example",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "XN--BCHER-KVA.example": "xn--bcher-kva.example",
    "faß.example": "xn--fa-hia.example",
    "fass.example": "fass.example",
    "\u0430pi.example.com": "xn--pi-6kc.example.com",
    "a" * 63 + ".test": "a" * 63 + ".test",
}
REFUSED = {
    "empty": "",
    "a dot": ".",
    "leading dot": ".example.com",
    "empty label": "api..example.com",
    "two trailing dots": "api.example.com..",
    "userinfo": "user@api.example.com",
    "userinfo with password": "user:pw@api.example.com",
    "userinfo trick": "api.example.com@evil.test",
    "port": "api.example.com:443",
    "fragment": "evil.test#.api.example.com",
    "query": "evil.test?.api.example.com",
    "path": "evil.test/.api.example.com",
    "backslash": "evil.test\\.api.example.com",
    "percent NUL": "api.example.com%00.evil.test",
    "percent": "api%2eexample.com",
    "NUL": "api.example.com\0.evil.test",
    "space": "api.example.com ",
    "inner space": "api .example.com",
    "tab": "api.example.com\t",
    "newline": "api.example.com\nevil.test",
    "CRLF": "api.example.com\r\n",
    "no-break space": "api.example.com\u00a0",
    "DEL": "api.example.com\x7f",
    "literal star": "*",
    "star inside": "api.*.com",
    "star in front": "*.example.com",
    "underscore": "my_host.example.com",
    "leading hyphen": "-api.example.com",
    "trailing hyphen": "api-.example.com",
    "long label": "a" * 64 + ".test",
    "long name": ".".join(["a" * 60] * 5),
    "endless": "a." * 100_000,
    "IPv4": "127.0.0.1",
    "IPv4 with trailing dot": "127.0.0.1.",
    "short IPv4": "127.1",
    "decimal IPv4": "2130706433",
    "hex IPv4": "0x7f000001",
    "hex parts": "0x7f.0x0.0x0.0x1",
    "upper case hex": "0X7F.1",
    "empty hex": "127.0.0.0x",
    "octal IPv4": "0177.0.0.1",
    "full-width IPv4": "\uff11\uff12\uff17.0.0.1",
    "IPv4 beyond range": "999.999.999.999",
    "ends in a number": "api.example.1",
    "IPv6": "::1",
    "bracketed IPv6": "[::1]",
    "mapped IPv6": "::ffff:127.0.0.1",
    "zone id": "fe80::1%eth0",
    "ideographic dot": "api\u3002example.com",
    "full-width dot": "api\uff0eexample.com",
    "half-width dot": "api\uff61example.com",
    "full-width letter": "\uff41pi.example.com",
    "Kelvin sign": "to\u212aen.example.com",
    "ligature": "o\ufb03ce.example.com",
    "soft hyphen": "a\u00adpi.example.com",
    "zero width space": "a\u200bpi.example.com",
    "zero width joiner": "a\u200dpi.example.com",
    "word joiner": "api\u2060.example.com",
    "right-to-left override": "api\u202e.example.com",
    "mathematical letter": "\U0001d41epi.example.com",
    "division slash": "evil.test\u2215.api.example.com",
    "full-width solidus": "evil.test\uff0f.api.example.com",
    "account of": "evil.test\u2100.example.com",
    "question mark look-alike": "api\u037e.example.com",
    "snowman": "\u2603.example",
    "half a surrogate": "api\ud800.example.com",
    "broken xn--": "xn--a.example",
    "empty xn--": "xn--.example",
    "xn-- of plain ASCII": "xn--api-.example.com",
    "xn-- of an upper case letter": "xn--BCHER-KVA0.example",
    "xn-- not allowed by IDNA 2008": "xn--n3h.example",
}


@pytest.mark.parametrize(("text", "name"), SAME.items(), ids=ascii)
def test_a_name_has_one_spelling(text: str, name: str) -> None:
    assert canonical(text) == name


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_two_parsers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(HostError) as caught:
        canonical(text)
    assert caught.value.code == "host.malformed"
    assert len(caught.value.message) < 250


NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,8}[a-z0-9])?){1,3}", fullmatch=True)
HOSTILE = st.text(st.one_of(st.characters(), st.sampled_from(string.printable)), max_size=12)


@given(st.one_of(st.text(), HOSTILE, NAMES))
@example("x\u0301.test")
def test_canonical_is_idempotent_and_plain(text: str) -> None:
    try:
        name = canonical(text)
    except HostError:
        return
    assert canonical(name) == name
    assert canonical(f"{name}.") == name
    assert canonical(name.upper()) == name
    assert name.isascii()
    assert set(name) <= set(string.ascii_lowercase + string.digits + "-.")
    assert len(name) <= 253


@given(st.text(max_size=6), st.text(max_size=6))
def test_only_ascii_spells_an_ascii_name(before: str, after: str) -> None:
    text = f"{before}api{after}.example.com"
    try:
        name = canonical(text)
    except HostError:
        return
    if name == "api.example.com":
        assert text.lower() == "api.example.com"


@given(NAMES, HOSTILE, st.sampled_from(["{x}{n}", "{n}{x}", "{x}.{n}", "{n}.{x}", "{x}@{n}", "{n}#{x}", "{n}\\{x}"]))
def test_nothing_put_before_or_behind_an_allowed_name_is_that_name(name: str, more: str, form: str) -> None:
    text = form.format(n=name, x=more)
    assume(text.removesuffix(".").lower() != name)
    try:
        spelled = canonical(text)
    except HostError:
        return
    assert not HostPattern.parse(name).covers(spelled)


@given(NAMES, NAMES)
def test_a_wildcard_covers_what_is_below_and_nothing_else(name: str, other: str) -> None:
    below = HostPattern.parse(f"*.{name}")
    assert below.covers(f"{other}.{name}")
    assert not below.covers(name)
    assert not below.covers(f"{other}{name}")
    assert not below.covers(f"{name}.{other}") or other.endswith(f".{name}") or f"{name}.{other}".endswith(f".{name}")
    assert str(below) == f"*.{name}"
    assert HostPattern.parse(str(below)) == below


@pytest.mark.parametrize(
    ("pattern", "host", "covers"),
    [
        ("example.com", "example.com", True),
        ("example.com", "notexample.com", False),
        ("example.com", "example.com.evil.test", False),
        ("example.com", "api.example.com", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "example.com.evil.test", False),
        ("*.BÜCHER.example", "a.xn--bcher-kva.example", True),
    ],
)
def test_patterns(pattern: str, host: str, covers: bool) -> None:
    assert HostPattern.parse(pattern).covers(host) is covers


@pytest.mark.parametrize(
    "text", ["*", "*.", "**.example.com", "*example.com", "a.*.com", "*.*.com", "*.10.0.0.1", "*.a:443"]
)
def test_a_star_stands_only_in_front_and_alone(text: str) -> None:
    with pytest.raises(HostError):
        HostPattern.parse(text)


def test_the_gateway_s_own_name_is_reserved_with_all_below_it() -> None:
    assert is_internal("tickover.internal")
    assert is_internal("mcp.tickover.internal")
    assert not is_internal("nottickover.internal")
    assert not is_internal("metadata.google.internal")


def test_a_refusal_says_what_is_wrong_and_shows_nothing_that_moves_a_cursor() -> None:
    with pytest.raises(HostError) as caught:
        canonical("evil\x1b[2J.test")
    assert "\x1b" not in caught.value.message
    with pytest.raises(HostError, match="user or password"):
        canonical("user@example.com")
