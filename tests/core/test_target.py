from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.target import Target, TargetError, read_authority, read_origin, read_path, read_query

SAME_PATH = {
    "/a/b": "/a/b",
    "/": "/",
    "/a/": "/a/",
    "/%61/%7Eb": "/a/~b",
    "/%c3%a9": "/%C3%A9",
    "/a%20b": "/a%20b",
    "/chat.postMessage": "/chat.postMessage",
    "/a..b/..c": "/a..b/..c",
    "/@scope/pkg": "/@scope/pkg",
    "/*": "/*",
    "/%2A": "/%2A",
}
REFUSED_PATH = {
    "no slash": "a",
    "empty": "",
    "dot": "/a/./b",
    "dot dot": "/a/../b",
    "dot dot at the end": "/a/..",
    "escaped dot dot": "/a/%2e%2e/b",
    "half escaped dot dot": "/a/.%2E/b",
    "dots with parameter": "/a/..;/b",
    "dots with escaped parameter": "/a/..%3bx=1/b",
    "dots with blank": "/a/..%20/b",
    "three dots": "/a/.../b",
    "double escape": "/a/%252e%252e/b",
    "double escaped slash": "/a%252fb",
    "triple escape": "/a/%25252e",
    "overlong dot": "/a/%c0%ae%c0%ae/b",
    "overlong slash": "/a%c0%afb",
    "lone byte": "/a/%ff",
    "unicode escape": "/a/%u002e%u002e",
    "cut escape": "/a%2",
    "percent alone": "/a%",
    "backslash": "/a\\b",
    "escaped backslash": "/a%5cb",
    "NUL": "/a\0",
    "escaped NUL": "/a%00",
    "escaped newline": "/a%0d%0aHost:%20b",
    "escaped DEL": "/a%7f",
    "escaped C1": "/a%c2%85",
    "blank": "/a b",
    "tab": "/a\tb",
    "raw letter beyond ASCII": "/\u00e9",
    "fragment": "/a#b",
    "query": "/a?b",
    "endless": "/" + "a" * 9000,
}
QUIRKS = {
    "/a%2fb": "an escaped slash",
    "/a//b": "an empty segment",
    "//a": "an empty segment",
    "/a;v=1": "a semicolon",
    "/a%3Bv": "a semicolon",
    "/100%25": "an escaped percent sign",
    "/a%EF%BC%8Fb": "a character that some read as . / or \\",
    "/%EF%BC%8E%EF%BC%8E/b": "a character that some read as . / or \\",
    "/%E2%80%A5": "a character that some read as . / or \\",
}


@pytest.mark.parametrize(("raw", "path"), SAME_PATH.items())
def test_a_path_has_one_spelling(raw: str, path: str) -> None:
    assert str(read_path(raw)) == path
    assert not read_path(raw).quirks


@pytest.mark.parametrize("raw", REFUSED_PATH.values(), ids=REFUSED_PATH)
def test_a_path_that_leads_elsewhere_is_refused(raw: str) -> None:
    with pytest.raises(TargetError):
        read_path(raw)


@pytest.mark.parametrize(("raw", "quirk"), QUIRKS.items())
def test_what_servers_read_differently_is_named_and_no_rule_means_it(raw: str, quirk: str) -> None:
    path = read_path(raw)
    assert quirk in path.quirks
    stars = Target.parse("POST https://a.test/" + "/".join("*" * len(path.segments)))
    assert not stars.leads_to(path)


@given(st.text(st.sampled_from("ab/.%2eEfF5cC;0 *~"), max_size=12).map("/{}".format))
def test_reading_twice_changes_nothing_and_no_dots_are_left(raw: str) -> None:
    try:
        path = read_path(raw)
    except TargetError:
        return
    assert read_path(str(path)) == path
    assert not {".", ".."} & set(path.segments)
    assert "%2e" not in str(path).lower()


SEGMENT = st.text(st.sampled_from("ab.-%~"), min_size=1, max_size=4)


@given(st.lists(SEGMENT, min_size=1, max_size=4), st.lists(st.one_of(st.just("*"), SEGMENT), min_size=1, max_size=4))
def test_a_star_is_exactly_one_segment(asked: list[str], ruled: list[str]) -> None:
    try:
        path = read_path("/" + "/".join(asked))
        target = Target.parse("POST https://a.test/" + "/".join(ruled))
    except TargetError:
        return
    if target.leads_to(path):
        assert len(asked) == len(ruled)
        assert all(ours in ("*", theirs) for ours, theirs in zip(target.segments, path.segments, strict=True))


@pytest.mark.parametrize(
    ("rule", "path", "leads"),
    [
        ("/repos/acme/app/pulls/*/reviews", "/repos/acme/app/pulls/7/reviews", True),
        ("/repos/acme/app/pulls/*/reviews", "/repos/acme/app/pulls//reviews", False),
        ("/repos/acme/app/pulls/*/reviews", "/repos/acme/app/pulls/7/x/reviews", False),
        ("/repos/acme/app/pulls/*/reviews", "/repos/acme/app/pulls/7/reviews/", False),
        ("/repos/acme/app/pulls/*/reviews", "/repos/acme/app/pulls/7%2Fx/reviews", False),
        ("/repos/acme/app/pulls/*", "/repos/acme/app/pulls/", False),
        ("/a", "/A", False),
        ("/a", "/%61", True),
        ("/caf%c3%a9", "/caf%C3%A9", True),
        ("/*", "/%2A", True),
        ("", "/", True),
    ],
)
def test_rules_and_paths(rule: str, path: str, leads: bool) -> None:
    assert Target.parse(f"POST https://a.test{rule}").leads_to(read_path(path)) is leads


@pytest.mark.parametrize(
    ("rule", "query", "asks"),
    [
        ("", "", True),
        ("", "channel=C0EVIL", False),
        ("?a=1", "a=1", True),
        ("?a=1", "", False),
        ("?a=1", "a=2", False),
        ("?a=1", "a=1&a=2", False),
        ("?a=1", "b=2&a=1", False),
        ("?a=%61", "a=a", True),
        ("?a=*", "a=anything", True),
        ("?a=*", "b=anything", False),
        ("?a=*", "a=x&b=y", False),
        ("?*", "a=1", False),
    ],
)
def test_a_query_is_the_rule_s_and_no_other(rule: str, query: str, asks: bool) -> None:
    assert Target.parse(f"GET https://a.test/x{rule}").asks(read_query(query)) is asks


@pytest.mark.parametrize("query", ["a b", "a#b", "a%2", "a%zz", "\u00e9", "a\0"])
def test_a_broken_query_is_refused(query: str) -> None:
    with pytest.raises(TargetError):
        read_query(query)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "POST",
        "post https://a.test/",
        "TRACE https://a.test/",
        "POST ftp://a.test/",
        "POST https:///x",
        "POST https://user@a.test/",
        "POST https://127.0.0.1/",
        "POST https://[::1]/",
        "POST https://*.a.test/",
        "POST https://a.test:0/",
        "POST https://a.test:65536/",
        "POST https://a.test/a/../b",
        "POST https://a.test/a//b",
        "POST https://a.test/a%2Fb",
        "POST https://a.test/x*",
        "POST https://a.test/**",
        "POST https://a.test/#x",
        "POST https://a.test/ HTTP/1.1",
    ],
)
def test_a_rule_that_could_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(TargetError):
        Target.parse(text)


def test_a_target_says_itself_in_one_way() -> None:
    assert str(Target.parse("POST https://A.Test:443/a?b=c")) == "POST https://a.test/a?b=c"
    assert str(Target.parse("GET http://a.test:8080")) == "GET http://a.test:8080/"
    assert Target.parse("GET https://a.test").is_at("https", "a.test", 443)
    for scheme, host, port in (("http", "a.test", 443), ("https", "b.test", 443), ("https", "a.test", 80)):
        assert not Target.parse("GET https://a.test").is_at(scheme, host, port)


def test_authorities_and_origins() -> None:
    assert read_authority("A.test.", 443) == ("a.test", 443)
    assert read_authority("a.test:8443", 443) == ("a.test", 8443)
    assert read_origin("https://a.test/{{ inputs.x }}?b") == ("https", "a.test", 443)
    for wrong in ("a.test:", "a.test:x", "a.test:00443", ":443", "[::1]:443", "u@a.test", "a.test:443:443"):
        with pytest.raises(TargetError):
            read_authority(wrong, 443)
    with pytest.raises(TargetError):
        read_origin("ftp://a.test/")
