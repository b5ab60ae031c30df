"""The root file system of `base: host`: an allowlist, never the host's own `/`.

`/usr /bin /sbin /lib*` come read-only from the host; `/etc` is generated from a handful of world-readable files;
everything else is empty. Host folders are never id-mapped: an id-mapped one let the inside's uid 0 read files that
only the host's root may.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from typing import Final

from tickover.sandbox.launcher.locks import locked

_SYSTEM: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC_FILES: Final = (
    "ld.so.cache", "ld.so.conf", "localtime", "timezone", "mime.types", "protocols", "services", "ethertypes",
    "debian_version", "os-release", "lsb-release", "rpc", "inputrc", "magic", "ssl/openssl.cnf", "ca-certificates.conf",
)  # fmt: skip
_ETC_FOLDERS: Final = ("alternatives", "ld.so.conf.d", "ssl/certs", "pki/tls/certs", "pki/ca-trust/extracted", "fonts")
OURS: Final = ("tickover", "check", "subject", "repo")
"""Top folders that hold nothing but what one sandbox is shown."""
EMPTY: Final = (
    "usr", "proc", "dev", "run", "mnt", "opt", "srv", "root", "var", "var/tmp", "var/cache", "var/lib", "tmp", "home",
    "home/agent", "workspace", "etc", *OURS,
)  # fmt: skip
"""Folders that every sandbox has."""
_GENERATED: Final = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000:agent:/home/agent:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": "sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    "gitconfig": "[safe]\n\tdirectory = *\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n"
    "[user]\n\tname = Tickover agent\n\temail = agent@tickover.invalid\n",
    "shells": "/bin/sh\n/bin/bash\n",
}
_FORMAT: Final = "1"


def system_arguments() -> list[str]:
    """Return bwrap's arguments that show the host's programs and libraries, read-only."""
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        path = f"/{name}"
        if os.path.isdir(path) and not os.path.islink(path):
            arguments += ["--ro-bind", path, path]
    for name in _ETC_FOLDERS:
        path = f"/etc/{name}"
        if os.path.isdir(path) and os.path.realpath(path) == path:
            arguments += ["--ro-bind", path, path]
    return arguments


def _copied() -> Iterator[tuple[str, bytes]]:
    for name in _ETC_FILES:
        try:
            with open(f"/etc/{name}", "rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & stat.S_IROTH:
                    yield name, file.read(4 << 20)
        except OSError:
            continue


def build(folder: str, own: Callable[[str], None]) -> str:
    """Make (or find) the skeleton below `folder` and return its path; `own` gives a path to the agent's uid."""
    files = {**dict(_copied()), **{name: text.encode() for name, text in _GENERATED.items()}}
    key = hashlib.sha256(_FORMAT.encode())
    for name in sorted(files):
        key.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    path = os.path.join(folder, f"host-{key.hexdigest()[:16]}")
    with locked(folder):  # one launcher makes it, the others wait
        if not os.path.isdir(path):
            making = f"{path}.making"
            shutil.rmtree(making, ignore_errors=True)
            _fill(making, files, own)
            os.rename(making, path)
    return path


def _fill(making: str, files: dict[str, bytes], own: Callable[[str], None]) -> None:
    os.makedirs(making, mode=0o755)
    for name in EMPTY:
        os.mkdir(f"{making}/{name}")
        os.chmod(f"{making}/{name}", 0o1777 if name in {"tmp", "var/tmp"} else 0o755)
    for name in _SYSTEM:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{making}/{name}")
        elif os.path.isdir(f"/{name}"):
            os.mkdir(f"{making}/{name}")
    for name in (*_ETC_FOLDERS, "ssl"):
        os.makedirs(f"{making}/etc/{name}", exist_ok=True)
    for name, data in files.items():
        with open(f"{making}/etc/{name}", "wb") as file:
            file.write(data)
    for parent, folders, names in os.walk(making):
        for name in (".", *folders, *names):
            own(os.path.join(parent, name))
