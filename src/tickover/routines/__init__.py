"""Text and files to a definition: YAML with positions, ROUTINE.md, skills, steps, version, JSON Schema."""
