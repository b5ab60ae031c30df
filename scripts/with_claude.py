"""The fourth run of the quickstart: Claude Code's own CLI, driven by the scripted model, beside what Tickover says.

No key and no account: the scripted model answers what examples/false-green-claude/script.json says. It is no model. The
CLI is installed by npm from this machine's registry, in a sandbox, into .tickover/quickstart of this checkout.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator

from journal import Run
from preflight import ProblemError, install_command, this_family

BUILD = "claude-code@2.1.197"
ROUTINE = "examples/false-green-claude"
NEEDED = ("/usr/bin/node", "/usr/bin/npm")
ROOTS = "scripted-model.pem"
MODEL = "https://localhost:8078"
BOARD = "http://127.0.0.1:8077"


def check_node() -> None:
    """Raise what is missing: sandboxes see the programs of /usr."""
    missing = [path for path in NEEDED if not os.path.exists(path)]
    if missing:
        raise ProblemError(
            f"there is no {' and no '.join(missing)}.",
            "Claude Code runs on node and is installed by npm, both as sandboxes see them.",
            install_command("npm", this_family()),
        )


def prepare(tickover: str, home: str) -> None:
    """Make the data folder with the build, and with the owner's word: the scripted model may be reached and trusted."""
    with open(os.path.join(home, "tickover.yaml"), "w", encoding="utf-8") as file:
        json.dump({"network": {"private": ["localhost"], "roots": [os.path.join(home, ROOTS)]}}, file)
    listed = subprocess.run([tickover, "agent", "list", "--json", "--home", home], capture_output=True, check=False)
    names = [f"{build['agent']}@{build['version']}" for build in json.loads(listed.stdout or b"[]")]
    if BUILD in names:
        return
    print(f"   installing {BUILD} from this machine's npm registry, once (half a minute) ...", flush=True)
    done = subprocess.run(
        [tickover, "agent", "install", BUILD, "--home", home], capture_output=True, text=True, check=False
    )
    if done.returncode:
        command = f"{tickover} agent install {BUILD} --home {home}"
        raise ProblemError(f"{BUILD} could not be installed.", done.stderr.strip(), command)


@contextlib.contextmanager
def scripted_model(python: str, root: str, home: str) -> Iterator[str]:
    """Serve the script; give the address."""
    script = os.path.join(root, ROUTINE, "script.json")
    command = [python, "-m", "tickover.testing.model", script, "--authority", os.path.join(home, ROOTS)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as model:
        try:
            assert model.stdout is not None
            yield model.stdout.readline().strip().replace("127.0.0.1", "localhost")
        finally:
            model.terminate()


def copy(root: str, scratch: str, model: str, board: str) -> str:
    """Copy the routine; the copy asks these two addresses."""
    folder = os.path.join(scratch, "false-green-claude")
    os.makedirs(folder)
    with open(os.path.join(root, ROUTINE, "ROUTINE.md"), encoding="utf-8") as file:
        text = file.read()
    with open(os.path.join(folder, "ROUTINE.md"), "w", encoding="utf-8") as file:
        file.write(text.replace(MODEL, model).replace(BOARD, board))
    return folder


def own_word(ended: Run) -> tuple[str, str]:
    """Return the CLI's own word for its end, and its last text."""
    ends = [event["data"].get("said", "") for event in ended.events if event["type"] == "agent_finished"]
    texts = [event["data"].get("text", "") for event in ended.events if event["type"] == "agent_text"]
    return str(ends[-1]) if ends else "nothing", str(texts[-1]) if texts else ""
