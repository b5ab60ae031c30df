"""What an agent found of the connectors it was offered, as findings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from tickover.agents.base import Offer
from tickover.core.event import FindingReported
from tickover.core.finding import FindingCode, found


def connector_findings(
    offers: Iterable[Offer], states: Mapping[str, str], tools: Collection[str], form: str = "mcp__{connector}__{tool}"
) -> list[FindingReported]:
    """Compare what was offered with the states (`connected`, ...) and the tools that the agent names.

    A connector that is not there at all has failed, too: an entry that the CLI cannot read vanishes without a word.
    """
    findings = []
    for offer in offers:
        prefix = form.format(connector=offer.name, tool="")
        failed = connection_findings([offer], states)
        findings += failed
        if not failed and not any(tool.startswith(prefix) for tool in tools):
            message = f"the connector `{offer.name}` offered no tools"
            findings.append(_of(FindingCode.CONNECTOR_WITHOUT_TOOLS, message, offer))
        missing = [name for name in offer.required if plain(prefix + name) not in tools]
        if missing:
            message = f"the connector `{offer.name}` lacks what is required: {', '.join(missing)}"
            findings.append(_of(FindingCode.REQUIRED_MISSING, message, offer))
    return findings


def connection_findings(offers: Iterable[Offer], states: Mapping[str, str]) -> list[FindingReported]:
    """Say which connectors did not connect."""
    found_ = ((offer, states.get(offer.name, "absent")) for offer in offers)
    return [
        _of(FindingCode.CONNECTOR_FAILED, f"the connector `{offer.name}` did not connect: {state}", offer)
        for offer, state in found_
        if state != "connected"
    ]


def plain(tool: str) -> str:
    """Return a tool's name as models' APIs know it: CLIs put _ for every other sign."""
    return re.sub("[^A-Za-z0-9_-]", "_", tool)


def _of(code: FindingCode, message: str, offer: Offer) -> FindingReported:
    return FindingReported.of(found(code, message, detail={"connector": offer.name}))
