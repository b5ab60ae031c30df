"""MCP servers that are programs: what the instance says of one.

Such a program runs beside the agent, in a sandbox of its own with its own way out. Whether a tool of it may be called
is judged at the gateway (core/mcp.py); what it sends for that to its own hosts is its own affair, and receipted.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tickover.core.definition import NetworkList
from tickover.core.shape import Form, Maybe, Name, Strict, VariableName

Argument = Annotated[str, Form(r"[^\x00]{1,4096}", "an argument is text, without a NUL")]


class Program(Strict):
    """An MCP server that speaks by its input and output (stdio).

    `setup` is bash that installs it once, with this machine's registries in reach and nothing else. `network` lists
    what the program itself may reach, `credentials` the variables whose values are placeholders: the gateway puts the
    credential into what goes to its hosts.
    """

    command: Annotated[tuple[Argument, ...], Field(min_length=1, max_length=100)]
    setup: Maybe[Annotated[str, Field(min_length=1, max_length=64 << 10)]] = None
    network: NetworkList = ()
    env: dict[VariableName, str] = Field(default_factory=dict)
    credentials: dict[VariableName, Name] = Field(default_factory=dict)
