"""A run's way out as a letter to the gateway's process: plain JSON there, the same `Egress` again here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from tickover.core.effect import Wanted
from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers
from tickover.core.lookup import JsonPath
from tickover.core.mcp import McpServer
from tickover.core.metering import Budget
from tickover.core.network import NetworkPolicy
from tickover.core.price import Price

_POLICY: Final = TypeAdapter(NetworkPolicy)
_POWERS: Final = TypeAdapter(Powers)
_BUDGET: Final = TypeAdapter(Budget)
_PRICES: Final = TypeAdapter(tuple[Price, ...])
_SERVERS: Final = TypeAdapter(tuple[McpServer, ...])
_FORMS: Final = TypeAdapter(dict[str, CredentialForm])


def write_egress(egress: Egress) -> dict[str, Any]:
    """Return the letter. No secret is in it, because none is in an `Egress`."""
    return {
        "policy": _POLICY.dump_python(egress.policy, mode="json"),
        "powers": _POWERS.dump_python(egress.powers, mode="json"),
        "forms": _FORMS.dump_python(dict(egress.forms), mode="json"),
        "budget": _BUDGET.dump_python(egress.budget, mode="json"),
        "prices": _PRICES.dump_python(egress.prices, mode="json"),
        "own_tools": [*egress.own_tools],
        "servers": _SERVERS.dump_python(egress.servers, mode="json"),
        "wanted": {
            "request": [path.text for path in egress.wanted.request],
            "response": [path.text for path in egress.wanted.response],
        },
    }


def read_egress(letter: Mapping[str, Any]) -> Egress:
    """Read it. Raises ValueError or KeyError for what is none."""
    request, response = (tuple(map(JsonPath.parse, letter["wanted"][name])) for name in ("request", "response"))
    return Egress(
        policy=_POLICY.validate_python(letter["policy"]),
        powers=_POWERS.validate_python(letter["powers"]),
        forms=_FORMS.validate_python(letter["forms"]),
        wanted=Wanted(request, response),
        budget=_BUDGET.validate_python(letter["budget"]),
        prices=_PRICES.validate_python(letter["prices"]),
        own_tools=tuple(letter["own_tools"]),
        servers=_SERVERS.validate_python(letter["servers"]),
    )
