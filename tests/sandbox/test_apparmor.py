"""The profile is text about one path. It has not been loaded by any AppArmor: none is here."""

import pytest

from tickover.sandbox.apparmor import profile


def test_names_one_program_and_grants_it_user_namespaces() -> None:
    text = profile("/srv/a venv/bwrap")
    assert '"/srv/a venv/bwrap" flags=(unconfined)' in text
    assert "\n  userns,\n" in text
    assert "Not run" in text


def test_two_paths_have_two_profiles() -> None:
    names = [line.split()[1] for path in ("/a/bwrap", "/b/bwrap") for line in profile(path).splitlines()[5:6]]
    assert len(set(names)) == 2


@pytest.mark.parametrize("path", ['/a"b', "/a*", "/a\nb", "/{a}"])
def test_a_path_that_would_be_a_pattern_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="literally"):
        profile(path)
