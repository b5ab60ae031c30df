"""Programs that run inside the sandbox, mounted read-only. Each is one file and needs only the standard library."""
