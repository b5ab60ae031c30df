"""An npm package that looks like an agent's: a program of a test's own where the real CLI would be."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path


def agent_package(folder: Path, name: str, version: str, program: str, script: str) -> Path:
    """Write FOLDER/agent-VERSION.tgz: the npm package `name`, whose program `program` is the shell script `script`."""
    manifest = {"name": name, "version": version, "bin": {program: f"{program}.sh"}, "license": "MIT"}
    path = folder / f"agent-{version}.tgz"
    files = {"package.json": json.dumps(manifest).encode(), f"{program}.sh": f"#!/bin/sh\n{script}".encode()}
    with tarfile.open(path, "w:gz") as archive:
        for file, content in files.items():
            entry = tarfile.TarInfo(f"package/{file}")
            entry.size = len(content)
            entry.mode = 0o755
            archive.addfile(entry, io.BytesIO(content))
    return path
