"""Programs that run inside a sandbox of ours: standard library only."""
