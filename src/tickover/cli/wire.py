"""Runs and events as the command line prints them for programs: the same forms that the API answers with."""

from __future__ import annotations

from tickover.core.wire import FORMAT, event_json, iso, row_json

__all__ = ["FORMAT", "event_json", "iso", "row_json"]
