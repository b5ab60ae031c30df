"""How large and how slow the base install is: no extras, as pip leaves it, without pip and setuptools.

    python bench/install.py

Goal: site-packages at most 165 MB, install at most 60 s. Uses pip's own settings for where packages come from.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
NOT_OURS = ("pip", "setuptools", "_distutils_hack", "pkg_resources")


def size(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tickover-install-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        began = time.perf_counter()
        subprocess.run([f"{folder}/bin/python", "-m", "pip", "install", "-q", str(CHECKOUT)], check=True)
        took = time.perf_counter() - began
        [packages] = Path(folder).glob("lib/python3*/site-packages")
        parts = {path.name: size(path) for path in packages.iterdir() if not path.name.startswith(NOT_OURS)}
        print(f"base install: {took:.0f} s, site-packages {sum(parts.values()) / 1e6:.0f} MB")
        for name, value in sorted(parts.items(), key=lambda item: -item[1])[:8]:
            print(f"  {value / 1e6:6.1f} MB  {name}")


if __name__ == "__main__":
    main()
