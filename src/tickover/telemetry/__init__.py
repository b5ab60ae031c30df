"""Traces of runs for those who watch many systems in one place. Nothing here is loaded unless somebody asks for it."""
