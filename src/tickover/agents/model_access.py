"""How an agent gets at its model: which host it needs, what it sends there. The gateway puts the real key in."""

from __future__ import annotations

from collections.abc import Iterable

from tickover.core.errors import UsageError
from tickover.core.network import Asked, Reach
from tickover.core.target import TargetError, read_origin


def model_reach(agent: str, preset: str, url: str, usual: str, calls: Iterable[str]) -> Reach:
    """Return what an agent needs for a model at `url`, or at its `usual` one, whose hosts are a preset.

    `calls` are the paths that it posts to. Raises UsageError for what is no URL.
    """
    by = f"agent {agent}"
    posted = tuple(f"POST {(url or usual).rstrip('/')}{call}" for call in calls)
    if not url:
        return Reach((Asked(preset, by),), posted)
    try:
        _, host, port = read_origin(url)
    except TargetError as error:
        raise UsageError("agent.model_url", f"the model's URL cannot be used: {error.message}") from error
    return Reach((Asked(f"{host}:{port}", by, inspect=True),), posted)
