"""Where a run lives: `base` is the port, every other file a backend; `launcher` is the only privileged code."""
