"""The part of the sandbox suite about `SandboxSpec.talks`: a command that is talked to over pipes of ours."""

from __future__ import annotations

import asyncio
import os

import pytest

from tickover.sandbox.base import Backend, SandboxBroken, SandboxSpec, Talking
from tickover.testing.sandbox import finish, new_name, shell, until

_ECHO = 'while read -r line; do echo "heard $line"; echo said >&2; done; echo bye >&2'


async def _line(talking: Talking) -> bytes:
    return await asyncio.wait_for(asyncio.to_thread(os.read, talking.stdout, 4096), 60)


def broken(stdin: int) -> bool:
    """Say whether nobody will ever read what is written."""
    try:
        os.write(stdin, b"anybody?\n")
    except BrokenPipeError:
        return True
    return False


class TalkSuite:
    """Subclassed by `SandboxSuite`."""

    async def test_a_command_is_talked_to(self, backend: Backend) -> None:
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell(_ECHO), talks=True))
        talking = sandbox.talking()
        try:
            os.write(talking.stdin, b"one\n")
            assert await _line(talking) == b"heard one\n"
            os.write(talking.stdin, b"two\n")
            assert await _line(talking) == b"heard two\n"
        finally:
            os.close(talking.stdin)  # the end of its input
        ran = await finish(sandbox)
        assert (ran.exit.code, ran.stdout, ran.stderr) == (0, b"", b"said\nsaid\nbye\n")
        assert await _line(talking) == b""
        os.close(talking.stdout)
        await sandbox.destroy()

    async def test_who_talks_hears_that_it_was_killed(self, backend: Backend) -> None:
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell(_ECHO), talks=True))
        talking = sandbox.talking()
        os.write(talking.stdin, b"one\n")
        assert await _line(talking) == b"heard one\n"
        await sandbox.kill()
        assert await _line(talking) == b""
        await until(lambda: broken(talking.stdin), lambda: "its input is still open")  # the kernel closes one by one
        talking.close()
        await sandbox.destroy()

    async def test_pipes_are_handed_over_once(self, backend: Backend) -> None:
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell(_ECHO), talks=True))
        sandbox.talking().close()
        with pytest.raises(SandboxBroken, match="handed over"):
            sandbox.talking()
        await sandbox.destroy()

    async def test_others_have_an_empty_input(self, backend: Backend) -> None:
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell(_ECHO)))
        with pytest.raises(SandboxBroken, match="not talked to"):
            sandbox.talking()
        ran = await finish(sandbox)
        assert (ran.exit.code, ran.stdout, ran.stderr) == (0, b"", b"bye\n")
        await sandbox.destroy()
