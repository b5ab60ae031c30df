"""Targets: one spelling each, and nothing that two parsers read differently."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.gateway.refusal import Refusal
from tickover.gateway.target import Authority, RequestTarget, parse_authority, parse_target, plain_path


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("api.example.com", "api.example.com", None),
        ("API.Example.com.:443", "api.example.com", 443),
        ("xn--bcher-kva.test:8080", "xn--bcher-kva.test", 8080),
        ("registry:5000", "registry", 5000),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str, port: int | None) -> None:
    assert parse_authority(text) == Authority(host, port)


BAD_HOSTS = {
    "userinfo": "api.example.com@evil.test",
    "password": "user:pw@evil.test",
    "fragment": "api.example.com#evil.test",
    "escape": "api.example.com%00.evil.test",
    "backslash": "evil.test\\api.example.com",
    "tab": "api.example.com\t",
    "empty label": "api..example.com",
    "only a dot": ".",
    "empty": "",
    "literal star": "*",
    "star below": "*.example.com",
    "decimal address": "2130706433",
    "hexadecimal address": "0x7f000001",
    "octal address": "0177.0.0.1",
    "short address": "127.1",
    "hexadecimal end": "127.0.0.0x1",
    "address": "169.254.169.254",
    "ipv6": "[::1]",
    "mapped ipv6": "[::ffff:127.0.0.1]:443",
    "raw utf-8": "bücher.test".encode().decode("latin-1"),
    "ideographic dot": "api。example.com",
    "broken punycode": "xn--a.test",
    "underscore": "api_example.test",
    "long": "a" * 64 + ".test",
    "port zero": "api.example.com:0",
    "port too large": "api.example.com:65536",
    "port with a plus": "api.example.com:+443",
    "empty port": "api.example.com:",
    "two ports": "api.example.com:443:80",
    "padded port": "api.example.com:0443",
}


@pytest.mark.parametrize("text", BAD_HOSTS.values(), ids=BAD_HOSTS)
def test_a_host_that_can_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_authority(text)
    assert caught.value.status == 400
    assert caught.value.reason in {"bad_host", "bad_port"}


def test_the_four_forms() -> None:
    assert parse_target("GET", "/a?b=c") == RequestTarget("origin", "/a?b=c")
    assert parse_target("OPTIONS", "*") == RequestTarget("asterisk", "*")
    assert parse_target("CONNECT", "A.test:443") == RequestTarget("authority", "", None, Authority("a.test", 443))
    assert parse_target("GET", "HTTP://A.test?x") == RequestTarget("absolute", "/?x", "http", Authority("a.test"))


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("GET", "ftp://a.test/"),
        ("GET", "*"),
        ("GET", "a.test"),
        ("GET", "/a#b"),
        ("GET", "/a b"),
        ("GET", "/\x7f"),
        ("GET", "/ü"),
        ("GET", ""),
        ("GET", "http:///a"),
        ("GET", "http://user@a.test/"),
        ("GET", "http://169.254.169.254/latest/meta-data"),
        ("CONNECT", "a.test"),
        ("CONNECT", "/"),
        ("CONNECT", "https://a.test"),
    ],
)
def test_every_other_target_is_refused(method: str, text: str) -> None:
    with pytest.raises(Refusal):
        parse_target(method, text)


@pytest.mark.parametrize("path", ["/", "/v1/messages", "/a%20b", "/b%C3%BC", "/a/../b?x", "/a.b/..c", "/@user/*"])
def test_a_plain_path_is_decoded_once(path: str) -> None:
    if path == "/a/../b?x":
        with pytest.raises(Refusal):
            plain_path(path)
    else:
        assert "%" not in plain_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin", "/v1/%2e%2e/admin", "/v1%2fadmin", "/v1%2Fadmin", "/v1/%252e%252e/admin", "//admin", "/v1\\admin",
        "/v1/%5cadmin", "/v1;x=y/admin", "/v1/./admin", "/v1/..", "/%00", "/%0d%0aX:y", "/%ff", "/%", "/%zz", "/a%3Fb",
        "/a%23b",
    ],
)  # fmt: skip
def test_a_path_that_an_upstream_could_resolve_is_refused(path: str) -> None:
    with pytest.raises(Refusal, match="ambiguous_path"):
        plain_path(path)


@given(st.text(max_size=60))
def test_nothing_but_refusals_is_raised(text: str) -> None:
    for read in (parse_authority, plain_path, lambda each: parse_target("GET", each)):
        with suppress(Refusal):
            read(text)


@given(st.from_regex(r"[A-Za-z]{1,8}(\.[A-Za-z]{1,8}){0,3}\.?", fullmatch=True), st.integers(1, 65535))
def test_reading_is_idempotent(host: str, port: int) -> None:
    authority = parse_authority(f"{host}:{port}")
    assert parse_authority(f"{authority.host}:{authority.port}") == authority
