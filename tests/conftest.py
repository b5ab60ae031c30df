"""What all tests share: how hypothesis works here, and a place of ours for its examples, whoever owns the checkout."""

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / f"tickover-hypothesis-{os.getuid()}")
)

# How long an example takes says nothing on a machine that is busy; pytest's timeout bounds the test as a whole.
settings.register_profile("tickover", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tickover")
os.environ.setdefault("TICKOVER_UP_PORT", "0")  # servers of tests, several at a time, take whatever port is free
