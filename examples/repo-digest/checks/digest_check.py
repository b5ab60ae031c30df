"""Count everything in the digest again, from a clone of our own, and compare.

Nothing is taken over from the routine. History comes from the raw commit objects instead of `git log`, churn from
one `git diff-tree` per commit and is tied to the line counts of the blobs, functions from the tokens
instead of the syntax tree. Exit 0: every number and every line agrees. Exit 1: they do not, and stdout says where.

Runs in the verifying sandbox: /usr/bin/python3 with the standard library, git, no network.
The environment may move the three folders for a run by hand: DIGEST_REPOSITORY, DIGEST_SUBJECT, TICKOVER_COMMIT_APP.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import tokenize
import warnings
from collections import Counter
from datetime import datetime, timedelta, timezone

DAYS = 7
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - the system's Python may be 3.10
LARGEST = 64 * 2**20  # bytes of a file of the subject that we are ready to read
SHOWN = 20  # differences printed

LANGUAGES = {
    "C": ".c .h",
    "C#": ".cs",
    "C++": ".cc .cpp .hpp",
    "Go": ".go",
    "Java": ".java",
    "JavaScript": ".js .jsx .mjs",
    "Kotlin": ".kt",
    "Lua": ".lua",
    "PHP": ".php",
    "Perl": ".pl",
    "Ruby": ".rb",
    "Rust": ".rs",
    "SQL": ".sql",
    "Scala": ".scala",
    "Shell": ".sh",
    "Swift": ".swift",
    "TypeScript": ".ts .tsx",
}
LANGUAGE_OF = {suffix: name for name, suffixes in LANGUAGES.items() for suffix in suffixes.split()}


class MismatchError(Exception):
    """The subject cannot be compared at all; the text says why."""


class Git:
    """Git with no configuration but ours."""

    def __init__(self, scratch):
        config = os.path.join(scratch, "gitconfig")
        with open(config, "w", encoding="ascii") as file:
            file.write("[safe]\n\tdirectory = *\n[advice]\n\tdetachedHead = false\n")
        self.folder = None
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": scratch,
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": config,
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def __call__(self, *args, feed=b""):
        where = ["-C", self.folder] if self.folder else []
        done = subprocess.run(
            ["git", *where, *args], input=feed, env=self.environment, capture_output=True, check=False
        )
        if done.returncode:
            raise MismatchError(f"git {args[0]}: {done.stderr.decode('utf-8', 'replace').strip()}")
        return done.stdout

    def objects(self, names):
        """Yield (name, bytes or None) for each object name."""
        answer = io.BytesIO(self("cat-file", "--batch", feed="".join(f"{name}\n" for name in names).encode()))
        for name in names:
            head = answer.readline().split()
            if head[-1:] == [b"missing"]:
                yield name, None
                continue
            body = answer.read(int(head[2]))
            answer.read(1)
            yield name, body


def commit_asked_for():
    """Return the commit the run was started on, as the host says it: never as the workspace says it."""
    commit = os.environ.get("TICKOVER_COMMIT_APP", "")
    if not re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", commit):
        raise MismatchError(f"no commit to compare with: {commit!r}")
    return commit


def clone(git, repository, commit, scratch):
    target = os.path.join(scratch, "clone")
    git("clone", "--quiet", "--shared", "--no-checkout", repository, target)
    git.folder = target
    git("checkout", "--quiet", "--detach", commit)
    return target


def utc(epoch):
    moment = EPOCH + timedelta(seconds=epoch)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def parse_commit(raw):
    """Return parents, committer's epoch, author and subject of a raw commit object."""
    header, _, message = raw.partition(b"\n\n")
    fields = [line.split(b" ", 1) for line in header.split(b"\n") if not line.startswith(b" ")]
    first = {}
    for key, *value in fields:
        first.setdefault(key, b"".join(value))
    encoding = first.get(b"encoding", b"utf-8").decode("ascii", "replace")
    try:
        "".encode(encoding)
    except LookupError:
        encoding = "utf-8"
    paragraph = []
    for line in message.decode(encoding, "replace").lstrip("\n").split("\n"):
        if not line.strip():
            break
        paragraph += line.split()
    author = first[b"author"].decode(encoding, "replace").rpartition(" <")[0]
    return {
        "parents": [value[0].decode() for key, *value in fields if key == b"parent"],
        "epoch": int(first[b"committer"].rsplit(b" ", 2)[1]),
        "author": " ".join(author.split()),
        "subject": " ".join(paragraph),
    }


def lines_in(content):
    return len(content.split(b"\n")) - (content.endswith(b"\n") or not content)


def churn(git, commit, parent):
    """Return (added, deleted, files, binary files) of one commit against its one parent or nothing.

    How lines are paired is git's choice, so the pairing is git's here too; that added - deleted is what the
    files grew by is not, and is counted from the blobs.
    """
    against = [parent, commit] if parent else ["--root", "--no-commit-id", commit]
    options = ("-r", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "--diff-algorithm=myers")
    counted = [row.split(b"\t", 2) for row in git("diff-tree", "--numstat", *options, *against).split(b"\0") if row]
    text = {path: (int(added), int(deleted)) for added, deleted, path in counted if added != b"-"}
    raw = git("diff-tree", "--raw", "--no-abbrev", *options, *against).split(b"\0")
    grown, wanted = 0, []
    for change, path in zip(raw[0::2], raw[1::2], strict=False):
        old_mode, new_mode, old, new, _ = change.lstrip(b":").split()
        if path in text:
            wanted += [(sign, mode, name.decode()) for sign, mode, name in ((-1, old_mode, old), (1, new_mode, new))]
    blobs = [(sign, name) for sign, mode, name in wanted if mode not in (b"000000", b"160000")]
    for (sign, _), (_, body) in zip(blobs, git.objects([name for _, name in blobs]), strict=True):
        grown += sign * lines_in(body or b"")
    grown += sum(sign for sign, mode, _ in wanted if mode == b"160000")  # a submodule's diff is one line
    added, deleted = (sum(pair[side] for pair in text.values()) for side in (0, 1))
    if added - deleted != grown:
        raise MismatchError(f"git counts +{added} -{deleted} in {commit}, but the files grew by {grown} lines")
    return added, deleted, len(counted), len(counted) - len(text)


def history(git, head):
    shallow = git("rev-parse", "--is-shallow-repository").decode().strip() != "false"
    reached = [line.split() for line in git("rev-list", "--parents", head).decode().splitlines()]
    seen_parents = {commit: parents for commit, *parents in reached}
    parsed = {name: parse_commit(raw) for name, raw in git.objects(list(seen_parents))}
    newest = parsed[head]["epoch"]
    since = newest - timedelta(days=DAYS).total_seconds()
    commits, counts, people = [], Counter(), {}
    for name, one in parsed.items():
        if not shallow and one["epoch"] <= since:
            continue
        added = deleted = 0
        parents = seen_parents[name]
        if parents != one["parents"]:
            added = deleted = None  # the history is cut here: its parents are unknown
            counts["churn_unknown"] += 1
        elif len(parents) < 2:
            added, deleted, files, binary = churn(git, name, parents[0] if parents else None)
            counts += Counter(added=added, deleted=deleted, file_changes=files, binary_changes=binary)
        counts["merges"] += len(parents) > 1
        commits.append(
            {
                "commit": name,
                "author": one["author"],
                "date": utc(one["epoch"]),
                "subject": one["subject"],
                "added": added,
                "deleted": deleted,
            }
        )
        people.setdefault(one["author"], Counter()).update(commits=1, added=added or 0, deleted=deleted or 0)
    newest_first = sorted(commits, key=lambda row: row["commit"])
    newest_first.sort(key=lambda row: row["date"], reverse=True)
    keys = ("added", "deleted", "file_changes", "binary_changes", "churn_unknown")
    return {
        "commit": head,
        "date": utc(newest),
        "window": {"days": None, "since": None, "shallow": True}
        if shallow
        else {"days": DAYS, "since": utc(since), "shallow": False},
        "totals": {
            "commits": len(commits),
            "merges": counts["merges"],
            "authors": len(people),
            **{key: counts[key] for key in keys},
        },
        "authors": sorted(
            (
                {"author": name, **{key: row[key] for key in ("commits", "added", "deleted")}}
                for name, row in people.items()
            ),
            key=lambda row: (-row["commits"], row["author"]),
        ),
        "commits": newest_first,
    }


def functions_by_token(path, source):
    """Yield the functions of a Python file that parses: from `def` to its last token, by indentation."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    text = io.StringIO(source.decode(encoding), newline=None)
    quiet = {tokenize.NL, tokenize.COMMENT, tokenize.ENCODING}
    blocks, pending, line, last, depth = [], None, [], 0, 0

    def closed(name, first, is_function):
        if is_function:
            yield {"path": path, "line": first, "name": name, "lines": last - first + 1}

    for token in tokenize.generate_tokens(text.readline):
        if token.type in quiet:
            continue
        if token.type == tokenize.INDENT:
            depth += 1
            if pending:
                blocks.append((depth, *pending))
                pending = None
            continue
        if pending:  # the logical line ended and no block follows: a body on the same line
            yield from closed(*pending)
            pending = None
        if token.type == tokenize.DEDENT:
            depth -= 1
            while blocks and blocks[-1][0] > depth:
                yield from closed(*blocks.pop()[1:])
        elif token.type == tokenize.NEWLINE:
            words = [one.string for one in line[:3]]
            named = {"def": 1, "class": 1}.get(words[0], 2 if words[:2] == ["async", "def"] else 0) if words else 0
            if named and line[named].type == tokenize.NAME:
                scope = blocks[-1][1] + "." if blocks else ""
                pending = (scope + line[named].string, line[0].start[0], words[0] != "class")
            line = []
        elif token.type != tokenize.ENDMARKER:
            line.append(token)
            last = token.end[0]


def code(folder):
    functions, files, python, unparsed = [], [], 0, 0
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not (parent == folder and name == ".git")]
        for name in names:
            full = os.path.join(parent, name)
            path, suffix = os.path.relpath(full, folder), os.path.splitext(name)[1]
            if not stat.S_ISREG(os.lstat(full).st_mode) or (suffix != ".py" and suffix not in LANGUAGE_OF):
                continue
            with open(full, "rb") as file:
                content = file.read()
            if suffix != ".py":
                files.append({"path": path, "lines": lines_in(content), "language": LANGUAGE_OF[suffix]})
                continue
            python += 1
            try:  # whether it parses is the parser's to say
                compile(content, path, "exec", flags=ast.PyCF_ONLY_AST, dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                unparsed += 1
                continue
            functions += functions_by_token(path, content)
    return {
        "python": {"files": python, "functions": len(functions), "unparsed": unparsed},
        "longest_functions": sorted(functions, key=lambda one: (-one["lines"], one["path"], one["line"]))[:10],
        "longest_files": sorted(files, key=lambda one: (-one["lines"], one["path"]))[:10],
    }


def shown(value):
    if value is None:
        return "unknown"
    flat = "".join(letter if letter.isprintable() else " " for letter in str(value))
    for letter in "\\`*_[]<>|":
        flat = flat.replace(letter, "\\" + letter)
    return " ".join(flat.split())


def rows(title, entries, columns):
    head = "| " + " | ".join(columns.values()) + " |"
    body = ["| " + " | ".join(shown(entry[key]) for key in columns) + " |" for entry in entries]
    return [*title, "", head, "|" + " --- |" * len(columns), *body]


def markdown(expected):
    totals, window, python = expected["totals"], expected["window"], expected["python"]
    reach = f"since {window['since']}" if window["since"] else "all the history of a shallow clone"
    counted = [f"- {key.replace('_', ' ')}: {value}" for key, value in totals.items()]
    same = {key: key for key in ("author", "commits", "added", "deleted")}
    commit = {key: key for key in ("commit", "date", "author", "added", "deleted", "subject")}
    function = {"path": "file", "line": "line", "name": "function", "lines": "lines"}
    parsed = (
        f"{python['functions']} functions in {python['files']} Python files, {python['unparsed']} of them not parsed."
    )
    return [
        f"# Digest of {expected['commit'][:12]}",
        "",
        f"Newest commit {expected['date']}; {reach}.",
        "",
        *counted,
        *rows(["", "## Authors"], expected["authors"], same),
        *rows(["", "## Commits"], expected["commits"][:20], commit),
        "",
        f"{max(0, totals['commits'] - 20)} more in digest.json.",
        *rows(["", "## Longest functions", "", parsed], expected["longest_functions"], function),
        *rows(
            ["", "## Longest files in other languages"],
            expected["longest_files"],
            {"path": "file", "language": "language", "lines": "lines"},
        ),
    ]


def read(subject, path):
    """Read a file of the subject that may be a link, a pipe or endless."""
    try:
        descriptor = os.open(os.path.join(subject, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise MismatchError(f"{path}: {error.strerror}") from error
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise MismatchError(f"{path}: not a regular file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise MismatchError(f"{path}: larger than {LARGEST} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MismatchError(f"{path}: not UTF-8: {error}") from error


def once(pairs):
    """Build a JSON object in which no key stands twice: two readers would see two numbers."""
    keys = Counter(key for key, _ in pairs)
    twice = [key for key, count in keys.items() if count > 1]
    if twice:
        raise MismatchError(f"out/digest.json: key {twice[0]!r} stands twice")
    return dict(pairs)


def differences(where, says, counted):
    """Yield a sentence for each place where the two differ; 1, 1.0 and true are different."""
    if type(says) is not type(counted):
        yield f"{where}: the routine says {says!r}, recomputed {counted!r}"
    elif isinstance(says, dict):
        for key in sorted(says.keys() | counted.keys()):
            if key not in counted:
                yield f"{where}.{key}: the routine says {says[key]!r}, there is no such number"
            elif key not in says:
                yield f"{where}.{key}: missing, recomputed {counted[key]!r}"
            else:
                yield from differences(f"{where}.{key}", says[key], counted[key])
    elif isinstance(says, list):
        if len(says) != len(counted):
            yield f"{where}: the routine lists {len(says)}, recomputed {len(counted)}"
        for index, (left, right) in enumerate(zip(says, counted, strict=False)):
            yield from differences(f"{where}[{index}]", left, right)
    elif says != counted:
        yield f"{where}: the routine says {says!r}, recomputed {counted!r}"


def main():
    warnings.simplefilter("ignore")  # about the code we read
    repository = os.environ.get("DIGEST_REPOSITORY", "/repo/app.git")
    subject = os.environ.get("DIGEST_SUBJECT", "/subject")
    with tempfile.TemporaryDirectory() as scratch:
        git = Git(scratch)
        commit = commit_asked_for()
        folder = clone(git, repository, commit, scratch)
        expected = {**history(git, commit), **code(folder)}
    try:
        says = json.loads(read(subject, "out/digest.json"), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise MismatchError(f"out/digest.json: not JSON: {error}") from error
    found = list(differences("digest.json", says, expected))
    written = read(subject, "out/digest.md").split("\n")
    wanted = [*markdown(expected), ""]
    found += [
        f"digest.md: {line}"
        for line in difflib.unified_diff(written, wanted, "written", "recomputed", lineterm="", n=0)
        if not line.startswith("@@")
    ]
    if found:
        print(*found[:SHOWN], sep="\n")
        if len(found) > SHOWN:
            print(f"and {len(found) - SHOWN} more")
        return 1
    totals = expected["totals"]
    print(
        f"recomputed from {commit[:12]}: {totals['commits']} commits, {totals['authors']} authors, "
        f"+{totals['added']} -{totals['deleted']}, {expected['python']['functions']} functions: all equal"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MismatchError as error:
        print(error)
        sys.exit(1)
