"""A tool that a routine requires, as the journal keeps it: whoever ends the run later knows what was required."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RequiredTool(BaseModel):
    """A tool of a connector. `method`, `host`, `port` and `path` (a pattern) are those of a service's request.

    An MCP server's tool has none of them. `rules` are the entries of `may` that let it through.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    connector: str
    tool: str
    method: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    rules: tuple[str, ...] = ()

    @property
    def of_server(self) -> bool:
        """Whether it is an MCP server's."""
        return not self.method
