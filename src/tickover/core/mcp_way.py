"""The MCP servers that a routine names, as the gateway is told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tickover.core.connector import ConnectorSettings
from tickover.core.definition import Routine
from tickover.core.errors import DefinitionErrors, TickoverError, UsageError, Where
from tickover.core.mcp import McpServer, check_tools, tool_rules
from tickover.core.network import NetworkPolicy
from tickover.core.permission import ConnectorPermission
from tickover.core.target import TargetError, read_origin

Way = Callable[[str, str, str | None], NetworkPolicy]
"""Makes the gateway's own way to a server, of `host:port`, who asks, and the credential. Raises UsageError."""


def servers_of(
    routine: Routine, settings: Mapping[str, ConnectorSettings], way: Way, problems: list[TickoverError]
) -> tuple[McpServer, ...]:
    """Return each server with what the run may call there; what cannot be is added to `problems`."""
    found = []
    for name in routine.connectors:
        known = settings.get(name)
        if known is not None and known.mcp is not None:
            try:
                found.append(_server(routine, name, known, way))
            except DefinitionErrors as error:
                problems += error.problems
            except TargetError as error:
                problems.append(UsageError(error.code, error.message, where=Where(key=f"connectors.{name}")))
            except UsageError as error:
                problems.append(error)
    return tuple(found)


def _server(routine: Routine, name: str, known: ConnectorSettings, way: Way) -> McpServer:
    assert known.mcp is not None
    offered, mcp, key = routine.connectors[name], known.mcp, f"connectors.{name}"
    check_tools(offered.tools, f"{key}.tools")
    rules = [
        tool_rules(index, each)
        for index, each in enumerate(routine.may)
        if isinstance(each, ConnectorPermission) and each.kind == name
    ]
    if mcp.url is None:
        return McpServer(name, "", NetworkPolicy(), None, offered.tools, offered.required, tuple(rules), mcp.allow)
    _, host, port = read_origin(mcp.url)
    return McpServer(
        name, mcp.url, way(f"{host}:{port}", key, mcp.credential), mcp.credential, offered.tools, offered.required,
        tuple(rules), mcp.allow,
    )  # fmt: skip
