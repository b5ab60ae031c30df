"""How an agent gets at its model: which host it needs. The key is never inside; the gateway puts it in."""

from __future__ import annotations

from tickover.core.errors import UsageError
from tickover.core.network import Asked
from tickover.core.target import TargetError, read_origin


def model_network(url: str, preset: str, agent: str) -> tuple[Asked, ...]:
    """Return the preset of the agent's own provider, or the one host of the URL that a variable names instead.

    Raises UsageError for what is no URL.
    """
    by = f"agent {agent}"
    if not url:
        return (Asked(preset, by),)
    try:
        _, host, port = read_origin(url)
    except TargetError as error:
        raise UsageError("agent.model_url", f"the model's URL cannot be used: {error.message}") from error
    return (Asked(f"{host}:{port}", by),)
