"""What Tickover does, in order. `execute` is the main path: read it first."""
