from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.definition import Repository
from tickover.core.enforcement import (
    OVERRIDES,
    READ,
    Allow,
    Body,
    Deny,
    JsonBody,
    Need,
    OtherBody,
    Powers,
    PushBody,
    Request,
    judge_request,
    need,
    read_body,
    rules_of,
)
from tickover.core.permission import ConnectorPermission, Permission, PushPermission, RequestPermission
from tickover.core.push import RefUpdate, push_rules
from tickover.core.target import METHODS, Target

CHAT = {
    "to": "POST https://chat.test/api/chat.postMessage",
    "json": {"channel": "C0ENG", "text": {"min_chars": 3}},
    "max": 2,
}
REVIEW = {"to": "POST https://forge.test/repos/acme/app/pulls/*/reviews", "credential": "forge", "max": 1}
QUERY = {"to": "DELETE https://forge.test/things?id=*&sure=1"}
GRAPH = {"to": "POST https://forge.test/graphql", "json": {"query": {"starts_with": "query "}}}
PUSH = {"repo": "app", "refs": ["tickover/*"]}
REPOSITORIES = {"app": Repository.model_validate({"url": "https://forge.test/acme/app.git", "credential": "forge"})}


def permissions() -> list[Permission]:
    requests = [RequestPermission.model_validate(each) for each in (CHAT, REVIEW, QUERY, GRAPH)]
    return [*requests, PushPermission.model_validate(PUSH), ConnectorPermission.model_validate({"tool": "x"})]


MAY = permissions()
POWERS = Powers(rules_of(MAY), push_rules(MAY, REPOSITORIES), (Target.parse("POST https://forge.test/acme/app.git"),))
POST = Request(
    "POST", "https", "chat.test", 443, "/api/chat.postMessage", body=JsonBody({"channel": "C0ENG", "text": "hello"})
)
GET = Request("GET", "https", "forge.test", 443, "/repos/acme/app")
PULL = Request("POST", "https", "forge.test", 443, "/repos/acme/app/pulls/7/reviews", body=JsonBody({}))


def judged(
    request: Request, *, credentials: tuple[str, ...] = ("forge",), powers: Powers = POWERS, **gone: int
) -> Allow | Deny:
    counts = {f"may[{key.removeprefix('may')}]": count for key, count in gone.items()}
    return judge_request(request, powers, counts, credentials if request.host == "forge.test" else ())


def code(request: Request, **more: Any) -> str:
    answer = judged(request, **more)
    assert answer.says
    return answer.rule if isinstance(answer, Allow) else answer.code


def test_a_write_that_a_rule_allows_counts_and_takes_the_rule_s_credential() -> None:
    assert judged(POST) == Allow("may[0]", None, "may[0]", "may[0] allows POST https://chat.test/api/chat.postMessage")
    answer = judged(PULL, credentials=("other", "forge"))
    assert isinstance(answer, Allow)
    assert (answer.rule, answer.credential, answer.count_key, answer.writes) == ("may[1]", "forge", "may[1]", True)


def test_reading_needs_no_rule_counts_nothing_and_takes_the_first_credential() -> None:
    for method in ("GET", "HEAD"):
        answer = judged(replace(GET, method=method), credentials=("first", "forge"))
        assert isinstance(answer, Allow)
        assert (answer.rule, answer.credential, answer.writes) == (READ, "first", False)
    named = Powers(rules_of([RequestPermission.model_validate({**REVIEW, "to": f"GET https://forge.test{GET.path}"})]))
    assert judged(GET, credentials=("first", "forge"), powers=named) == Allow(READ, "forge", None, "reading is allowed")
    assert judged(GET, credentials=("first",), powers=named) == Allow(READ, "first", None, "reading is allowed")


def test_without_any_rule_only_reading_passes() -> None:
    for method in METHODS:
        answer = code(replace(GET, method=method), powers=Powers())
        assert answer == (READ if method in {"GET", "HEAD"} else "no_rule")


@pytest.mark.parametrize("method", ["post", "Post", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "PATCHY", "", "POST\0"])
def test_other_methods_do_not_pass(method: str) -> None:
    assert code(replace(POST, method=method)) == "method"


@pytest.mark.parametrize("method", [each for each in METHODS if each != "POST"])
def test_a_rule_is_of_one_method(method: str) -> None:
    answer = code(replace(POST, method=method))
    assert answer == "no_rule"


@pytest.mark.parametrize("name", sorted(OVERRIDES))
@pytest.mark.parametrize("request_", [GET, POST], ids=["read", "write"])
def test_no_header_makes_it_another_request(name: str, request_: Request) -> None:
    for spelled in (name, name.title(), name.replace("-", "_"), f"{name} "):
        assert code(replace(request_, headers=(("Accept", "*/*"), (spelled, "DELETE")))) == "override"


def test_method_override_headers_are_known() -> None:
    assert {
        "x-http-method-override",
        "x-method-override",
        "x-http-method",
        "x-original-url",
        "x-rewrite-url",
    } <= OVERRIDES


@pytest.mark.parametrize("query", ["_method=DELETE", "a=1&_METHOD=put", "%5fmethod=DELETE"])
def test_no_parameter_makes_it_another_request(query: str) -> None:
    assert code(replace(GET, query=query)) == "override"


PATH_TRICKS = {
    "dot dot": "/api/x/../chat.postMessage",
    "escaped dot dot": "/api/x/%2e%2e/chat.postMessage",
    "escaped slash": "/api%2fchat.postMessage",
    "upper case escaped slash": "/api%2Fchat.postMessage",
    "double escape": "/api/%252e%252e/chat.postMessage",
    "double escaped slash": "/api%252fchat.postMessage",
    "double slash": "//api/chat.postMessage",
    "inner double slash": "/api//chat.postMessage",
    "trailing slash": "/api/chat.postMessage/",
    "parameter": "/api/chat.postMessage;x=1",
    "other case": "/API/chat.postMessage",
    "backslash": "/api\\chat.postMessage",
    "NUL": "/api/chat.postMessage%00",
    "blank": "/api/chat.postMessage%20",
    "suffix": "/api/chat.postMessagex",
    "prefix": "/api/xchat.postMessage",
    "below": "/api/chat.postMessage/x",
    "absolute form": "https://chat.test/api/chat.postMessage",
    "full-width slash": "/api%EF%BC%8Fchat.postMessage",
}


@pytest.mark.parametrize("path", PATH_TRICKS.values(), ids=PATH_TRICKS)
def test_no_trick_of_the_path_reaches_a_rule(path: str) -> None:
    assert code(replace(POST, path=path)) in {"path", "no_rule"}


@pytest.mark.parametrize(
    "path",
    ["/repos/acme/app/pulls/7%2F..%2F8/reviews", "/repos/acme/app/pulls//reviews", "/repos/acme/app/pulls/7;x/reviews"],
)
def test_a_star_is_no_way_out(path: str) -> None:
    assert code(replace(PULL, path=path)) in {"path", "no_rule"}


def test_escapes_that_mean_the_same_are_the_same() -> None:
    assert code(replace(POST, path="/api/chat%2epostMessage")) == "may[0]"
    assert code(replace(POST, path="/%61pi/chat.post%4Dessage")) == "may[0]"


def test_reading_bears_what_a_rule_does_not() -> None:
    assert code(replace(GET, path="/@scope%2fname")) == READ
    assert code(replace(GET, path="/a/../b")) == "path"


@pytest.mark.parametrize("change", [{"scheme": "http"}, {"host": "chat.test.evil.test"}, {"port": 8443}])
def test_a_rule_is_of_one_address(change: dict[str, Any]) -> None:
    assert code(replace(POST, **change)) == "no_rule"


def test_a_rule_without_a_query_allows_none_and_one_with_it_allows_that() -> None:
    assert code(replace(POST, query="channel=C0EVIL")) == "query"
    delete = Request("DELETE", "https", "forge.test", 443, "/things", "id=7&sure=1")
    assert code(delete) == "may[2]"
    for query in ("", "id=7", "id=7&sure=1&all=1", "sure=1&id=7", "id=7&sure=2"):
        assert code(replace(delete, query=query)) == "query"


BODIES: dict[str, tuple[Body, str]] = {
    "fits": (JsonBody({"channel": "C0ENG", "text": "hello", "more": 1}), "may[0]"),
    "another channel": (JsonBody({"channel": "C0EVIL", "text": "hello"}), "body"),
    "no channel": (JsonBody({"text": "hello"}), "body"),
    "another case": (JsonBody({"Channel": "C0ENG", "text": "hello"}), "body"),
    "another channel beside it": (JsonBody({"channel": ["C0ENG", "C0EVIL"], "text": "hello"}), "body"),
    "channel is a number": (JsonBody({"channel": 0, "text": "hello"}), "body"),
    "a list": (JsonBody([{"channel": "C0ENG", "text": "hello"}]), "body"),
    "null": (JsonBody(None), "body"),
    "a form": (OtherBody("its type is a form"), "body"),
    "none": (None, "body"),
    "a push": (PushBody(()), "body"),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES)
def test_where_a_rule_names_fields_the_body_must_have_them(body: Body, expected: str) -> None:
    assert code(replace(POST, body=body)) == expected


def test_a_refusal_says_what_differs() -> None:
    def says(request: Request, **more: Any) -> str:
        return judged(request, **more).says

    other = JsonBody({"channel": "C0EVIL", "text": "hello"})
    assert says(replace(POST, body=other)) == 'may[0] does not allow this body: channel is "C0ENG": got "C0EVIL"'
    assert says(POST, may0=2) == "may[0] allows 2 in the whole run, and 2 left already"
    assert says(replace(POST, path="/api/files.upload")) == (
        "`may` does not allow POST https://chat.test/api/files.upload; "
        "the nearest is may[0]: POST https://chat.test/api/chat.postMessage"
    )
    assert says(replace(PULL, method="PUT")).endswith(f"the nearest is may[1]: {Target.parse(str(REVIEW['to']))}")
    assert says(replace(POST, host="other.test")) == (
        "`may` allows no write to other.test, so POST https://other.test/api/chat.postMessage does not pass"
    )
    assert "secret" not in says(replace(POST, path="/x", query="token=secret"))


def test_a_rule_is_used_up_by_what_left_in_any_attempt() -> None:
    assert [code(POST, may0=gone) for gone in (0, 1, 2, 3)] == ["may[0]", "may[0]", "max", "max"]
    assert code(PULL, may0=9) == "may[1]"
    two = [RequestPermission.model_validate(each) for each in (CHAT, {**CHAT, "max": 5})]
    assert code(POST, powers=Powers(rules_of(two)), may0=2) == "may[1]"
    unlimited = [RequestPermission.model_validate({"to": CHAT["to"]})]
    assert code(POST, powers=Powers(rules_of(unlimited)), may0=10**6) == "may[0]"


def test_a_credential_goes_only_where_it_is_bound_and_never_in_the_clear() -> None:
    assert code(PULL, credentials=("other",)) == "credential"
    assert code(PULL, credentials=()) == "credential"
    for request in (GET, PULL):
        assert code(replace(request, scheme="http", port=80)) == "cleartext"
    assert code(replace(GET, scheme="http", port=80), credentials=()) == READ


GRAPH_POST = Request("POST", "https", "forge.test", 443, "/graphql", body=JsonBody({"query": "query { me }"}))


def test_graphql_is_a_write_whatever_its_method() -> None:
    assert code(GRAPH_POST) == "may[3]"
    assert code(replace(GRAPH_POST, body=JsonBody({"query": "mutation { rm }"}))) == "body"
    assert code(replace(GRAPH_POST, path="/api/graphql")) == "no_rule"
    assert code(replace(GET, path="/graphql", query="query=mutation{rm}")) == "no_rule"
    assert code(replace(GET, path="/api/GraphQL/x", query="id=persisted")) == "no_rule"
    assert code(replace(GET, path="/graphql")) == READ


@pytest.mark.parametrize("header", ["Upgrade", "upgrade"])
def test_a_connection_that_nobody_reads_afterwards_is_a_write(header: str) -> None:
    assert code(replace(GET, headers=((header, "websocket"), ("Connection", "upgrade")))) == "no_rule"


def test_reading_with_a_body_is_writing() -> None:
    for body in (JsonBody({}), OtherBody("unread")):
        assert code(replace(GET, body=body)) == "no_rule"


NEW, NONE = "b" * 40, "0" * 40
RECEIVE = Request(
    "POST",
    "https",
    "forge.test",
    443,
    "/acme/app.git/git-receive-pack",
    body=PushBody((RefUpdate("refs/heads/tickover/x", NONE, NEW),)),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "may[4]"),
        ({"path": "/acme/app/git-receive-pack"}, "may[4]"),
        ({"body": PushBody(())}, "may[4]"),
        ({"body": PushBody((RefUpdate("refs/heads/main", NONE, NEW),))}, "ref_not_allowed"),
        ({"body": PushBody((RefUpdate("refs/heads/tickover/x", NONE, NEW), RefUpdate("refs/heads/main", NONE, NEW)))}, "ref_not_allowed"),
        ({"body": PushBody((RefUpdate("refs/heads/tickover/x", NEW, NONE),))}, "ref_delete"),
        ({"body": OtherBody("unread")}, "push_unread"),
        ({"body": None}, "push_unread"),
        ({"body": JsonBody({})}, "push_unread"),
        ({"path": "/acme/other.git/git-receive-pack"}, "no_rule"),
        ({"path": "/acme/app.git/x/git-receive-pack"}, "no_rule"),
        ({"port": 8443}, "no_rule"),
        ({"query": "x=1"}, "path"),
        ({"path": "/acme/app.git/git-upload-pack", "body": OtherBody("")}, READ),
        ({"path": "/acme/other.git/git-upload-pack", "body": OtherBody("")}, "no_rule"),
        ({"method": "GET", "path": "/acme/app.git/info/refs", "query": "service=git-receive-pack", "body": None}, READ),
        ({"path": "/acme/app.git/git%2dreceive-pack"}, "may[4]"),
        ({"path": "/acme/app.git//git-receive-pack"}, "path"),
    ],
)  # fmt: skip
def test_git_is_judged_by_repository_and_ref(change: dict[str, Any], expected: str) -> None:
    assert code(replace(RECEIVE, **change)) == expected


def test_a_request_rule_does_not_open_a_way_around_the_refs() -> None:
    around = rules_of(
        [RequestPermission.model_validate({"to": "POST https://forge.test/acme/app.git/git-receive-pack"})]
    )
    assert code(RECEIVE, powers=Powers(around)) == "no_rule"
    assert code(RECEIVE, credentials=()) == "credential"


def test_what_must_be_read_is_said_from_the_head() -> None:
    assert need(POST, POWERS) is Need.JSON
    assert need(PULL, POWERS) is Need.NOTHING
    assert need(GET, POWERS) is Need.NOTHING
    assert need(RECEIVE, POWERS) is Need.PUSH
    assert need(replace(RECEIVE, path="/other/x/git-receive-pack"), POWERS) is Need.PUSH
    assert need(replace(POST, path="/../x"), POWERS) is Need.NOTHING


JSON = ("Content-Type", "application/json")
READ_BODIES: dict[str, tuple[list[tuple[str, str]], bytes, object]] = {
    "json": ([JSON], b'{"a": 1}', {"a": 1}),
    "json with charset": ([("content-type", 'application/json; charset="UTF-8"')], b"[1]", [1]),
    "json of a vendor": ([("content-type", "application/vnd.forge.v3+json")], b"1", 1),
    "underscore": ([("content_type", "application/json")], b"1", 1),
    "identity": ([JSON, ("content-encoding", "identity")], b"1", 1),
    "form": ([("content-type", "application/x-www-form-urlencoded")], b'{"a": "&a=2"}', None),
    "text": ([("content-type", "text/plain")], b"{}", None),
    "no type": ([], b"{}", None),
    "two types": ([JSON, ("content-type", "text/plain")], b"{}", None),
    "utf-16": ([("content-type", "application/json; charset=utf-16")], '{"a":1}'.encode("utf-16"), None),
    "utf-16 unsaid": ([JSON], '{"a":1}'.encode("utf-16"), None),
    "other parameter": ([("content-type", "application/json; boundary=x")], b"{}", None),
    "gzip": ([JSON, ("content-encoding", "gzip")], b"\x1f\x8b", None),
    "key twice": ([JSON], b'{"a": 1, "a": 2}', None),
    "key twice, escaped": ([JSON], b'{"a": 1, "\\u0061": 2}', None),
    "key twice, other case": ([JSON], b'{"channel": 1, "Channel": 2}', None),
    "key twice, deep": ([JSON], b'[{"x": {"a": 1, "a": 2}}]', None),
    "two documents": ([JSON], b"{}{}", None),
    "not a number": ([JSON], b'{"a": NaN}', None),
    "not UTF-8": ([JSON], b'"\xff"', None),
    "comment": ([JSON], b"{} // x", None),
    "byte order mark": ([JSON], b"\xef\xbb\xbf{}", None),
    "empty": ([JSON], b"", None),
    "deep": ([JSON], b"[" * 100_000, None),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "body", "value"), READ_BODIES.values(), ids=READ_BODIES)
def test_a_body_is_json_only_where_nobody_can_read_it_otherwise(
    headers: list[tuple[str, str]], body: bytes, value: object
) -> None:
    read = read_body(headers, body)
    if value is None:
        assert isinstance(read, OtherBody)
        assert read.why
    else:
        assert read == JsonBody(value)  # type: ignore[arg-type]


def test_no_body_is_no_body() -> None:
    assert read_body([], b"") is None


SMALL = st.text(st.sampled_from("/ab.%2eEfF*;x\\"), max_size=10)


@given(
    st.sampled_from(METHODS), st.sampled_from(["https", "http"]), st.sampled_from(["chat.test", "forge.test", "x.test"]),
    st.one_of(SMALL.map("/{}".format), st.just(POST.path), st.just(PULL.path)), st.sampled_from(["", "a=1", "id=1&sure=1"]),
    st.sampled_from([None, JsonBody({}), POST.body, OtherBody("x")]), st.integers(0, 3),
)  # fmt: skip
def test_every_write_that_passes_has_a_rule_that_says_so(
    method: str, scheme: str, host: str, path: str, query: str, body: Body, gone: int
) -> None:
    request = Request(method, scheme, host, 443, path, query, body=body)
    answer = judged(request, may0=gone, may1=gone)
    assert answer.says
    if isinstance(answer, Deny):
        return
    if not answer.writes:
        assert method in {"GET", "HEAD"}
        assert body is None
        return
    [rule] = [each for each in POWERS.rules if each.name == answer.rule]
    assert (rule.target.method, rule.target.scheme, rule.target.host) == (method, scheme, host)
    assert path.count("/") == len(rule.target.segments)
    assert rule.most is None or gone < rule.most
