"""`caps` of tickover.yaml: what the instance allows each routine, and all of them together."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from tickover.core.admission import PRESETS, Caps
from tickover.core.limits import Count, Period
from tickover.core.shape import Between, Maybe, Strict

_NONE: Final = Caps()


class CapSettings(Strict):
    """A preset, and what differs from it. Runs that a person starts with `tickover run` are not capped."""

    preset: Maybe[Literal["claude-pro", "claude-team"]] = None
    runs_per_day: Maybe[Count] = None
    min_interval: Maybe[Period] = None
    all_runs_per_day: Maybe[Count] = None
    concurrent: Annotated[int, Between(1, 1000)] = _NONE.concurrent
    pause_after: Annotated[int, Between(0, 1000)] = _NONE.pause_after

    def caps(self) -> Caps:
        """Return the caps in force: a key that is given wins over the preset."""
        given: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set - {"preset"}}
        if "min_interval" in given:
            given["min_interval_s"] = float(given.pop("min_interval"))
        return replace(PRESETS[self.preset] if self.preset else _NONE, **given)
