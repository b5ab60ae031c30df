"""What all tests share: a place for hypothesis to keep its examples that is ours, whoever owns the checkout."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / f"tickover-hypothesis-{os.getuid()}")
)

os.environ.setdefault("TICKOVER_UP_PORT", "0")  # servers of tests, several at a time, take whatever port is free
