"""The bench of the end-to-end tests: whole runs, and a clean host after them."""

from tests.e2e.conftest import bench

__all__ = ["bench"]
