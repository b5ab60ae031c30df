"""What the sandbox of an MCP server that is a program may reach: its own list, with its own credentials."""

from __future__ import annotations

from collections.abc import Mapping

from tickover.core.egress import Egress
from tickover.core.enforcement import Powers
from tickover.core.errors import DefinitionErrors, UsageError, Where
from tickover.core.instance import Instance
from tickover.core.network import Asked, Binding, Preset, policy_of
from tickover.core.program import Program


def programs_of(egress: Egress, instance: Instance) -> dict[str, Program]:
    """Return the servers of a run that are programs, by name."""
    found = {}
    for server in egress.servers:
        settings = instance.connectors[server.name].mcp
        if settings is not None and settings.program is not None:
            found[server.name] = settings.program
    return found


def program_egress_of(name: str, program: Program, instance: Instance, presets: Mapping[str, Preset]) -> Egress:
    """Make a program's way out. Its writes need no `may`, and go where its requests can be read.

    Raises DefinitionErrors.
    """
    key = f"connectors.{name}.mcp.program"
    rules = instance.network.rules()
    asked = [Asked(entry, f"{key}.network[{index}]") for index, entry in enumerate(program.network)]
    names = tuple(dict.fromkeys(program.credentials.values()))
    unknown = [each for each in names if each not in instance.credentials]
    if unknown:
        text = f"this instance has no credential `{unknown[0]}`"
        raise DefinitionErrors([UsageError("credential.unknown", text, where=Where(key=f"{key}.credentials"))])
    policy = policy_of(asked, presets, rules, [Binding(each, instance.credentials[each].hosts) for each in names])
    forms = ((each, instance.credentials[each].form(rules)) for each in names)
    return Egress(
        policy=policy,
        powers=Powers(anything=f"connectors.{name}"),
        forms={each: form for each, form in forms if form is not None},
    )
