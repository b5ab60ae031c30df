from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tickover.core.errors import UsageError
from tickover.core.importing import from_claude_routine, from_crontab
from tickover.core.trigger import ScheduleTrigger
from tickover.routines.loader import load_folder, parse_routine

CRONTAB = """# my jobs
MAILTO=ops@example.com
CRON_TZ=Europe/Berlin
WEEK="last"
*/15 9-17 * * mon-fri  /usr/local/bin/report.sh --date=\\%F > /tmp/out
@daily backup ```x```
0 3 1 * * /usr/local/bin/report.sh monthly
"""

ROUTINE = {
    "name": "Weekly digest!", "cron_expression": "0 9 * * 1-5", "enabled": False,
    "job_config": {"ccr": {
        "environment_id": "env_1",
        "session_context": {
            "model": "claude-sonnet-5", "sources": [{"git_repository": {"url": "https://git.example.com/acme/app.git"}}],
            "allowed_tools": ["Bash", "Read"],
        },
        "events": [{"data": {"type": "user", "message": {"role": "user", "content": "Write the digest.\n---\nPost it."}}}],
    }},
    "mcp_connections": [{"name": "slack", "url": "https://mcp.example.com/"}],
}  # fmt: skip


def test_a_crontab(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "tab").write_text(CRONTAB)
    into = tmp_path / "routines"
    done = cli("import", "crontab", str(tmp_path / "tab"), "--into", str(into))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in into.iterdir()) == ["backup", "report-sh", "report-sh-2"]
    first = load_folder(str(into / "report-sh")).routine
    [trigger] = first.on
    assert isinstance(trigger, ScheduleTrigger)
    assert (trigger.cron, trigger.time_zone) == ("*/15 9-17 * * mon-fri", "Europe/Berlin")
    assert "/usr/local/bin/report.sh --date=%F > /tmp/out" in first.body
    assert first.environment.env == {"WEEK": "last"}
    assert "MAILTO" in done.stderr
    assert "no contract" in done.stderr
    again = cli("import", "crontab", str(tmp_path / "tab"), "--into", str(into))
    assert again.exit_code == 2
    assert "import.exists" in again.stderr


@pytest.mark.parametrize("line", ["@reboot x", "1 2 3 x", "* * * * * cat%input", "every day x y z w"])
def test_a_line_that_cannot_be_carried_over_is_an_error(line: str, cli: Any, tmp_path: Path) -> None:
    (tmp_path / "tab").write_text(line + "\n")
    done = cli("import", "crontab", str(tmp_path / "tab"), "--into", str(tmp_path / "routines"))
    assert done.exit_code == 2
    assert not (tmp_path / "routines").exists()


def test_a_claude_routine(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "routine.json").write_text(json.dumps(ROUTINE))
    done = cli("import", "claude-routine", str(tmp_path / "routine.json"), "--into", str(tmp_path / "routines"))
    assert done.exit_code == 0, done.output
    routine = load_folder(str(tmp_path / "routines" / "weekly-digest")).routine
    assert (routine.agent, routine.model) == ("claude-code", "claude-sonnet-5")
    assert routine.repositories["app"].url == "https://git.example.com/acme/app.git"
    assert [each.kind for each in routine.on] == ["schedule", "api"]
    assert routine.body.strip() == "Write the digest.\n---\nPost it."
    for told in ("slack", "Bash, Read", "switched off", "UTC"):
        assert told in done.stderr


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"name": 1}', b'{"name": "x"}', b"\xff", b"[" * 9999])
def test_what_is_no_claude_routine(raw: bytes) -> None:
    with pytest.raises(UsageError):
        from_claude_routine(raw)


def test_a_scheduled_task(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "SKILL.md").write_text("---\nname: Review\ndescription: Reviews.\n---\nLook at what changed.\n")
    done = cli("import", "claude-scheduled-task", str(tmp_path / "SKILL.md"), "--into", str(tmp_path / "routines"))
    assert done.exit_code == 0, done.output
    routine = load_folder(str(tmp_path / "routines" / "review")).routine
    assert (routine.agent, routine.description, routine.body.strip()) == (
        "claude-code",
        "Reviews.",
        "Look at what changed.",
    )
    assert "its schedule" in done.stderr


def test_what_is_written_can_be_read() -> None:
    for each in from_crontab(CRONTAB, "UTC"):
        assert parse_routine(each.text().encode()).routine.name == each.name
