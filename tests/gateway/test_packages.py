"""What this machine's package managers say becomes hosts and variables, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tickover.core.errors import TickoverError
from tickover.core.network import Asked, policy_of
from tickover.gateway.packages import Packages, find_packages

PAGES = {
    "https://index.example.com/simple/pip/": (
        "text/html",
        '<a href="https://files.example.net/a/pip.whl#sha256=1">x</a> <a href="../../p/pip.zip">y</a>',
    ),
    "https://more.example.org:8443/simple/setuptools/": (
        "application/vnd.pypi.simple.v1+json",
        json.dumps({"files": [{"url": "https://cdn.example.org/s.whl"}, {"url": "file:///etc/passwd"}]}),
    ),
    "https://npm.example.com/npm/latest": (
        "application/json",
        json.dumps({"dist": {"tarball": "https://tarballs.example.com/npm.tgz"}}),
    ),
}


async def asked(*, pip: str = "", npm: str = "", config: dict[str, object] | None = None, apt: str = "") -> Packages:
    """Find packages on an imagined machine."""

    async def ask(argv: Sequence[str]) -> bytes:
        said = {"config": pip, "indextargets": apt}
        if "-c" in argv:
            return b"https://index.example.com/simple files.example.net" if pip != "none" else b""
        if argv[0] == "npm":
            return (npm if "get" in argv else json.dumps(config or {})).encode()
        return next((text for word, text in said.items() if word in argv), "").encode()

    async def fetch(url: str, accept: str) -> tuple[str, str, str]:
        assert accept
        media, text = PAGES.get(url, ("", ""))
        return url, media, text

    return await find_packages(ask, fetch)


async def test_built_in_defaults_need_no_variable() -> None:
    found = await asked()
    assert found.preset.hosts == ("index.example.com:443", "files.example.net:443")
    assert found.preset.learnt == ()
    assert found.environment == {}


async def test_configuration_comes_first_and_its_most_special_part_wins() -> None:
    lines = ["global.index-url='https://wrong.example/'", "install.index-url='https://wrong.example/2'"]
    lines += [
        ":env:.index-url='https://index.example.com/simple'",
        "global.extra-index-url='https://more.example.org:8443/simple file:///srv/x'",
    ]
    found = await asked(pip="\n".join(lines))
    assert found.preset.hosts[:2] == ("index.example.com:443", "more.example.org:8443")
    assert found.environment == {
        "PIP_INDEX_URL": "https://index.example.com/simple",
        "PIP_EXTRA_INDEX_URL": "https://more.example.org:8443/simple",
    }
    assert any("file" in note for note in found.notes)


async def test_a_learnt_host_is_open_and_never_private() -> None:
    found = await asked(pip=":env:.index-url='https://more.example.org:8443/simple'")
    assert found.preset.learnt == ("cdn.example.org:443",)
    policy = policy_of([Asked("packages", "test")], {"packages": found.preset})
    named, learnt = policy.judge("more.example.org", 8443), policy.judge("cdn.example.org", 443)
    assert (named.private, learnt.private) == (True, False)
    assert str(named.route) == str(learnt.route) == "inspect"
    assert not policy.judge("files.example.net", 443).allowed


async def test_a_password_is_not_shown_inside() -> None:
    found = await asked(
        pip=":env:.index-url='https://user:hush@index.example.com/simple'",
        npm="https://who:hush@npm.example.com/",
        config={"@acme:registry": "https://t:hush@scoped.example.com/", "//npm.example.com/:_authToken": "hush"},
    )
    assert "hush" not in repr(found)
    assert found.environment["PIP_INDEX_URL"] == "https://index.example.com/simple"
    assert found.environment["npm_config_@acme:registry"] == "https://scoped.example.com/"
    assert "tarballs.example.com:443" in found.preset.learnt


async def test_apt_alone_is_enough_and_an_address_is_no_host() -> None:
    found = await asked(pip="none", apt="http://deb.example.org/debian/\nhttp://192.0.2.7/debian\nfile:/srv/debian\n")
    assert found.preset.hosts == ("deb.example.org:80",)


async def test_no_registry_at_all_is_said() -> None:
    with pytest.raises(TickoverError) as refused:
        await asked(pip="none", apt="file:/srv/debian")
    assert refused.value.code == "network.no_packages"
