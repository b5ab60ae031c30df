"""What a test needs and this machine does not have."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(says: str) -> NoReturn:
    """Skip the test; but fail it where everything is to be tested: as root in CI, which can install what it needs."""
    if os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(f"{says}, so this was not tested")
    pytest.skip(says)
