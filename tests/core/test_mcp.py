"""MCP servers in definitions: what the instance and the routine say, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tickover.core.contract import can_change, weaknesses
from tickover.core.definition import Routine
from tickover.core.egress import Egress
from tickover.core.enforcement import Allow, Deny
from tickover.core.errors import DefinitionErrors
from tickover.core.grant import asks_of
from tickover.core.instance import Instance, egress_of
from tickover.core.matcher import Fields
from tickover.core.mcp import McpServer, Pins, Tool, ToolRule, judge_call, read_tools

INSTANCE: dict[str, Any] = {
    "connectors": {"tracker": {"mcp": {"url": "https://mcp.example.com/mcp", "credential": "token"}}},
    "credentials": {"token": {"hosts": ["mcp.example.com"]}},
}
ROUTINE: dict[str, Any] = {
    "name": "r",
    "agent": "steps",
    "connectors": {"tracker": {"tools": ["search", "create_issue"], "required": ["create_issue"]}},
    "may": [{"tracker": {"tool": "create_issue", "max": 1, "json": {"project": {"in": ["ops", "web"]}}}}],
}
EFFECT = {"receipt": {"to": "CALL mcp://tracker/create_issue", "request": {"json": {"title": {"exists": True}}}}}


def way(instance: dict[str, Any] = INSTANCE, **keys: Any) -> Egress:
    return egress_of(Routine.model_validate({**ROUTINE, **keys}), Instance.model_validate(instance), {})


def codes(instance: dict[str, Any] = INSTANCE, **keys: Any) -> dict[str, str | None]:
    with pytest.raises(DefinitionErrors) as caught:
        way(instance, **keys)
    return {each.code: each.where.key if each.where else None for each in caught.value.problems}


def test_only_the_gateway_has_a_way_to_the_server() -> None:
    egress = way(environment={"network": ["mcp.example.com"]})
    [server] = egress.servers
    assert (server.name, server.credential, server.required) == ("tracker", "token", ("create_issue",))
    assert [(rule.name, rule.tool, rule.most) for rule in server.rules] == [("may[0]", "create_issue", 1)]
    assert server.policy.judge("mcp.example.com", 443).allowed
    assert server.policy.credentials_for("mcp.example.com", 443) == ("token",)
    assert egress.policy.internal
    assert not egress.closed
    assert egress.policy.credentials_for("mcp.example.com", 443) == (), "the agent's own requests carry nothing"
    assert not way().policy.judge("mcp.example.com", 443).allowed
    assert "token" in egress.forms


def test_what_cannot_be_is_said_with_its_place() -> None:
    assert codes(connectors={"mail": {}}, may=[]) == {"connector.unknown": "connectors.mail"}
    other = {"tracker": {"tool": "delete", "max": 1}}
    assert codes(may=[other]) == {"connector.not_offered": "may[0].tracker.tool"}
    assert codes(may=[{"tracker": {"tool": "search", "project": "ops"}}]) == {
        "connector.unknown_key": "may[0].tracker.project"
    }
    assert codes(connectors={"tracker": {"tools": ["a b"]}}, may=[]) == {
        "connector.tool_name": "connectors.tracker.tools"
    }
    unbound = {**INSTANCE, "credentials": {"token": {"hosts": ["other.example.com"]}}}
    assert codes(unbound) == {"credential.not_bound": "connectors.tracker"}
    missing = {**INSTANCE, "credentials": {}}
    assert "credential.unknown" in codes(missing)
    unseen = {"receipt": {"to": "CALL mcp://tracker/delete", "request": {"json": {"a": 1}}}}
    assert codes(expect=[unseen]) == {"receipt.unseen": "expect[0].receipt.to"}
    assert codes(may=[{"slack": {"tool": "post_message", "json": {"a": 1}}}], connectors={"slack": {}}) != {}


@pytest.mark.parametrize(
    "connectors",
    [
        {"tracker": {}},
        {"slack": {"mcp": {"url": "https://a.test/mcp"}}},
        {"tracker": {"mcp": {"url": "http://a.test/mcp"}}},
        {"tracker": {"mcp": {"url": "https://a.test/mcp?x=y"}}},
        {"tracker": {"mcp": {"url": "https://a.test/mcp"}, "credential": "c"}},
        {"tracker": {"mcp": {"url": "https://a.test/mcp", "allow": ["sampling"]}}},
    ],
)
def test_an_instance_that_makes_no_sense(connectors: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Instance.model_validate({"connectors": connectors})


def test_a_check_of_receipts_proves_a_call() -> None:
    routine = Routine.model_validate({**ROUTINE, "expect": [EFFECT]})
    assert can_change(routine) == [
        "can change: one call of tracker's create_issue (if project is as it must be); nothing else"
    ]
    assert [each.code for each in weaknesses(routine)] == ["contract.no_noop"]
    weak = Routine.model_validate({**ROUTINE, "expect": [{"receipt": {"to": "CALL mcp://tracker/create_issue"}}]})
    assert "contract.receipt_too_weak" in {each.code for each in weaknesses(weak)}
    none = Routine.model_validate(ROUTINE)
    assert any(each.startswith("unproved write") for each in can_change(none))
    assert egress_of(routine, Instance.model_validate(INSTANCE), {}).wanted.request


def test_what_a_run_asks_of_its_owner() -> None:
    says = [each.says for each in asks_of(Routine.model_validate(ROUTINE), Instance.model_validate(INSTANCE))]
    assert says == [
        "the credential `token`, and all that it can read at mcp.example.com",
        "to change one call of tracker's create_issue (if project is as it must be)",
        "to ask the MCP server tracker at https://mcp.example.com/mcp, with its tools search, create_issue",
    ]


RULE = ToolRule("may[0]", "make", Fields({"project": "ops"}), 2)


@pytest.mark.parametrize(
    ("server", "tool", "reads", "code"),
    [
        (McpServer("t"), "look", True, "read"),
        (McpServer("t"), "make", False, "no_rule"),
        (McpServer("t", tools=("make",)), "look", True, "mcp_not_offered"),
        (McpServer("t", tools=("make",)), "make", False, "no_rule"),
        (McpServer("t", tools=("make",), rules=(RULE,)), "make", True, "may[0]"),
        (McpServer("t", tools=("make",), rules=(ToolRule("may[0]", "make", Fields({"project": "x"})),)), "make", True,
         "body"),
        (McpServer("t", tools=("make",), rules=(ToolRule("may[0]", "make", most=1),)), "make", False, "max"),
    ],
)  # fmt: skip
def test_a_call_is_judged(server: McpServer, tool: str, *, reads: bool, code: str) -> None:
    judged = judge_call(server, tool, {"project": "ops"}, reads=reads, counts={"may[0]": 1})
    assert code == (judged.rule if isinstance(judged, Allow) else judged.code)
    assert isinstance(judged, Deny) or judged.writes is (code != "read")


def test_tools_are_pinned_at_first_sight() -> None:
    def tool(name: str, text: str = "x") -> dict[str, Any]:
        return {"name": name, "description": text, "inputSchema": {}, "_meta": {"a": 1}}

    pins = Pins()
    first = read_tools([tool("a"), tool("b"), {"name": "c"}, 7, tool("not a name"), tool("..")])
    assert [each.name for each in first] == ["a", "b"]
    assert pins.see(first) == []
    assert pins.see(read_tools([tool("a", "other"), tool("n")])) == ["a"]
    assert set(pins.tools) == {"n"}
    assert pins.see(first) == []
    assert set(pins.tools) == {"a", "b"}
    assert not Tool("a", {"annotations": {"readOnlyHint": "true"}}).reads
    assert Tool("a", {"annotations": {"readOnlyHint": True}}).reads
