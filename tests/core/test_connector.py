from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tickover.core.connector import ConnectorSettings
from tickover.core.definition import Routine
from tickover.core.enforcement import Allow, JsonBody, Request, judge_request
from tickover.core.errors import DefinitionErrors
from tickover.core.grant import asks_of
from tickover.core.instance import Instance, egress_of, read_back_of, read_by_checks
from tickover.core.network import Route

CREDENTIALS = {
    "bot": {"hosts": ["slack.com"]},
    "reader": {"hosts": ["slack.com"]},
    "forge": {"hosts": ["api.github.com"]},
}
OWNER = Instance.model_validate(
    {
        "credentials": CREDENTIALS,
        "connectors": {
            "slack": {"credential": "bot", "verifier_credential": "reader"},
            "github": {"credential": "forge"},
        },
    }
)
TOOLS = {"slack": {"tools": ["post_message"]}, "github": {"tools": ["create_review", "create_status"]}}
MESSAGE = {"slack": {"tool": "post_message", "channels": ["C0ENG", "C0OPS"], "max": 1}}
REVIEW = {"github": {"tool": "create_review", "repos": ["acme/app", "acme/web"], "events": "COMMENT", "max": 2}}


def routine(*may: dict[str, Any], **keys: Any) -> Routine:
    return Routine.model_validate({"name": "r", "agent": "steps", "connectors": TOOLS, "may": list(may), **keys})


def post(host: str, path: str, body: Any, *, query: str = "") -> Request:
    return Request("POST", "https", host, 443, path, query, body=JsonBody(body))


def judged(request: Request, counts: int = 0) -> str:
    egress = egress_of(routine(MESSAGE, REVIEW), OWNER, {})
    allowed = egress.policy.credentials_for(request.host, request.port)
    index = "may[0]" if request.host == "slack.com" else "may[1]"
    answer = judge_request(request, egress.powers, {index: counts}, allowed)
    return f"{answer.rule} {answer.credential}" if isinstance(answer, Allow) else answer.code


@pytest.mark.parametrize(
    ("request_", "counts", "answer"),
    [
        (post("slack.com", "/api/chat.postMessage", {"channel": "C0OPS"}), 0, "may[0] bot"),
        (post("slack.com", "/api/chat.postMessage", {"channel": "C0ENG"}), 1, "max"),
        (post("slack.com", "/api/chat.postMessage", {"channel": "C0EVIL"}), 0, "body"),
        (post("slack.com", "/api/chat.postMessage", {"channel": "C0ENG"}, query="channel=C0EVIL"), 0, "query"),
        (post("slack.com", "/api/chat.postMessage", {}), 0, "body"),
        (post("slack.com", "/api/chat.delete", {"channel": "C0ENG"}), 0, "no_rule"),
        (post("api.github.com", "/repos/acme/app/pulls/7/reviews", {"event": "COMMENT"}), 0, "may[1] forge"),
        (post("api.github.com", "/repos/acme/web/pulls/7/reviews", {"event": "COMMENT"}), 1, "may[1] forge"),
        (post("api.github.com", "/repos/acme/web/pulls/7/reviews", {"event": "COMMENT"}), 2, "max"),
        (post("api.github.com", "/repos/acme/app/pulls/7/reviews", {"event": "APPROVE"}), 0, "body"),
        (post("api.github.com", "/repos/acme/other/pulls/7/reviews", {"event": "COMMENT"}), 0, "no_rule"),
        (post("api.github.com", "/repos/acme/app/statuses/abc", {"state": "success"}), 0, "no_rule"),
    ],
)
def test_an_entry_of_may_is_rules_of_the_gateway(request_: Request, counts: int, answer: str) -> None:
    assert judged(request_, counts) == answer


@pytest.mark.parametrize(
    ("may", "code", "key"),
    [
        ({"slack": {"tool": "post_mesage"}}, "connector.unknown_key", "may[0].slack.tool"),
        ({"slack": {"tool": "post_message", "chanels": ["C0"]}}, "connector.unknown_key", "may[0].slack.chanels"),
        ({"slack": {"tool": "post_message", "channels": []}}, "connector.needs", "may[0].slack.channels"),
        ({"slack": {"tool": "update_message"}}, "connector.not_offered", "may[0].slack.tool"),
        ({"github": {"tool": "create_review"}}, "connector.needs", "may[0].github"),
        ({"github": {"tool": "create_review", "repos": ["acme/*"]}}, "connector.repo", "may[0].github.repos"),
        ({"github": {"tool": "create_review", "repos": ["acme/.."]}}, "connector.repo", "may[0].github.repos"),
        ({"github": {"tool": "create_review", "repos": ["acme/app/x"]}}, "connector.repo", "may[0].github.repos"),
        ({"github": {"tool": "create_review", "repos": [7]}}, "connector.repo", "may[0].github.repos"),
    ],
)
def test_what_is_no_entry_says_where_and_why(may: dict[str, Any], code: str, key: str) -> None:
    with pytest.raises(DefinitionErrors) as caught:
        egress_of(routine(may), OWNER, {})
    [problem] = caught.value.problems
    assert problem.where is not None
    assert (problem.code, problem.where.key) == (code, key)


def test_without_the_instances_word_there_is_no_connector() -> None:
    with pytest.raises(DefinitionErrors) as caught:
        egress_of(routine(MESSAGE), Instance(), {})
    assert {each.code for each in caught.value.problems} == {"connector.unknown"}
    with pytest.raises(DefinitionErrors) as caught:
        read_back_of(routine(expect=[{"slack": {"channel": "C0ENG"}}]), Instance(), {})
    assert [each.code for each in caught.value.problems] == ["connector.unknown"]


def test_the_verifier_reads_with_its_own_credential_and_writes_nothing() -> None:
    asks = routine(MESSAGE, expect=[{"slack": {"channel": "C0ENG"}}, {"github": {"repo": "acme/app", "pull": 7}}])
    ways = read_back_of(asks, OWNER, {})
    slack, github = ways["slack"], ways["github"]
    assert slack.policy.judge("slack.com", 443).route is Route.INSPECT
    assert slack.policy.judge("api.github.com", 443).route is Route.DENY
    assert slack.policy.credentials_for("slack.com", 443) == ("reader",)
    assert github.policy.credentials_for("api.github.com", 443) == ("forge",)
    assert slack.powers.rules == github.powers.rules == ()
    agent = egress_of(asks, OWNER, {})
    assert "reader" not in agent.forms
    assert agent.policy.credentials_for("slack.com", 443) == ("bot",)
    assert read_by_checks(asks, OWNER) == {"reader": ["expect[0].slack"], "forge": ["expect[1].github"]}


def test_a_reading_credential_that_may_not_go_to_its_connector_is_told_before_the_run() -> None:
    by = OWNER.model_copy(
        update={"connectors": {"slack": ConnectorSettings(credential="bot", verifier_credential="forge")}}
    )
    with pytest.raises(DefinitionErrors) as caught:
        read_back_of(routine(expect=[{"slack": {"channel": "C0ENG"}}]), by, {})
    assert [each.code for each in caught.value.problems] == ["credential.not_bound"]


def test_what_checks_read_with_is_asked_of_the_owner() -> None:
    asks = routine(MESSAGE, expect=[{"slack": {"channel": "C0ENG"}}])
    says = [each.says for each in asks_of(asks, OWNER)]
    assert "that its checks read slack with the credential `reader`" in says
    assert any(each.startswith("the credential `bot`") for each in says)


@pytest.mark.parametrize(
    "connectors",
    [
        {"slak": {}},
        {"slack": {"url": "http://slack.com/api"}},
        {"slack": {"url": "https://user:pw@slack.com"}},
        {"slack": {"url": "https://slack.com/api?x=1"}},
        {"slack": {"token": "x"}},
    ],
)
def test_what_is_no_connector_of_an_instance(connectors: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Instance.model_validate({"connectors": connectors})
