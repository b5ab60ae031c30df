"""Tickover: routines whose green means something."""

__version__ = "0.1.0"
