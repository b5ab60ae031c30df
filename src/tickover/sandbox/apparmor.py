"""The AppArmor profile that lets one bubblewrap make user namespaces where the distribution forbids it to all others.

Not run: none of the machines we test on has AppArmor. Form: apparmor.d(5), abi 4.0 with the `userns` permission, as
Ubuntu 24.04 ships for its own programs ("Restricted unprivileged user namespaces", Ubuntu security documentation).
"""

from __future__ import annotations

import hashlib

_PROFILE = """\
# Not run by us: no machine we test on has AppArmor. Install as root:
#   tickover doctor --apparmor > /etc/apparmor.d/{name} && apparmor_parser -r /etc/apparmor.d/{name}
abi <abi/4.0>,
include <tunables/global>

profile {name} "{path}" flags=(unconfined) {{
  userns,
  include if exists <local/{name}>
}}
"""


def profile(path: str) -> str:
    """Return the profile for the bubblewrap at `path`, and for no other program."""
    if any(letter in path for letter in '"\n\\*?[]{}^'):
        raise ValueError(f"AppArmor cannot name this path literally: {path!r}")
    name = f"tickover-bwrap-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    return _PROFILE.format(name=name, path=path)
