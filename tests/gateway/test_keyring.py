"""Whose traffic a credential is looked for in."""

from tickover.gateway.keyring import Keyring

LONG, SHORT = b"a-token-of-some-length", b"shorty"


def test_a_run_is_told_nothing_that_anybody_holds_unless_it_is_another_ones_and_short() -> None:
    keyring = Keyring()
    keyring.hold("1", "mine", [LONG, SHORT])
    assert keyring.for_run("mine") == (LONG, SHORT)
    assert keyring.for_run("other") == (LONG,)
    keyring.hold("2", "other", [SHORT, b"second-token-of-that-length"])
    assert keyring.for_run("other") == (LONG, b"second-token-of-that-length", SHORT)
    assert keyring.for_run("mine") == (LONG, b"second-token-of-that-length", SHORT)


def test_what_no_session_holds_any_more_is_forgotten() -> None:
    keyring = Keyring()
    keyring.hold("1", "mine", [LONG])
    keyring.hold("2", "mine", [LONG])
    keyring.drop("1")
    assert keyring.for_run("mine") == (LONG,)
    keyring.drop("2")
    keyring.drop("2")
    assert keyring.for_run("mine") == ()


def test_what_cannot_be_told_from_other_text_is_not_looked_for() -> None:
    keyring = Keyring()
    keyring.hold("1", "mine", [b"five5", b"a line\nand another one", "schlüssel-und-so".encode()])
    assert keyring.for_run("mine") == ()
