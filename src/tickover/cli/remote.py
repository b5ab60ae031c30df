"""A server, as the command line calls it: over the same API as everybody else.

`tickover login` keeps address and token in one file that only its owner can read; TICKOVER_URL and TICKOVER_TOKEN
come before it.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from tickover.core.errors import NotFoundError, TickoverError, UsageError
from tickover.core.event import JournalEvent
from tickover.routines.loader import load_folder

FILE: Final = "login.json"
_TRIES: Final = 5
_SECONDS: Final = 60.0


class RemoteError(TickoverError):
    """The server could not be reached, or did not do it."""


class RemoteAuthError(TickoverError):
    """The server does not take the token, or the token does not allow it."""

    exit_code = 4


_KINDS: Final[dict[int, type[TickoverError]]] = {
    400: UsageError, 401: RemoteAuthError, 403: RemoteAuthError, 404: NotFoundError, 413: UsageError,
}  # fmt: skip


def login_file() -> Path:
    """Return where the login is kept: $XDG_CONFIG_HOME/tickover/login.json, else below ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "tickover" / FILE


def keep_login(url: str, token: str) -> Path:
    """Write the login for its owner alone, complete or not at all."""
    path = login_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".login-")  # made with mode 0600
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump({"url": url, "token": token}, file)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path


def known_login() -> tuple[str, str]:
    """Return address and token. Raises UsageError where there is no login, or others could read it."""
    url, token = os.environ.get("TICKOVER_URL"), os.environ.get("TICKOVER_TOKEN")
    if url and token:
        return url.rstrip("/"), token
    hint = "`tickover login URL`, or the variables TICKOVER_URL and TICKOVER_TOKEN"
    path = login_file()
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UsageError("login.open", f"{path} can be read by others", hint=f"chmod 600 {path}")
            told = json.load(file)
        return str(told["url"]), str(told["token"])
    except FileNotFoundError:
        raise UsageError("login.none", "there is no login", hint=hint) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError("login.damaged", f"{path} cannot be read as a login", hint=hint) from None


class Remote:
    """One server. Every call raises RemoteError, or what the server answered, as the error that it is here."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._client = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=_SECONDS, follow_redirects=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def whoami(self) -> dict[str, Any]:
        return self._json("GET", "/api/v1/whoami")

    def fire(self, routine: str, words: Mapping[str, str], text: str | None, key: str) -> dict[str, Any]:
        """Start a run; called again with the same key it is the same run, so a lost answer is asked for again."""
        body: dict[str, Any] = {"words": dict(words)}
        if text is not None:
            body["text"] = text
        headers = {"idempotency-key": key}
        return self._json("POST", f"/api/v1/routines/{routine}/fire", json=body, headers=headers, again=True)

    def push(self, folder: Path) -> dict[str, Any]:
        """Hand over a routine's folder, and the environments beside it."""
        name, packed = pack(folder)
        headers = {"content-type": "application/gzip"}
        return self._json("POST", f"/api/v1/routines/{name}/push", content=packed, headers=headers, again=True)

    def grants(self, routine: str) -> dict[str, Any]:
        return self._json("GET", f"/api/v1/routines/{routine}/grants", again=True)

    def approve(self, routine: str, digest: str) -> None:
        """Grant what was read under this digest."""
        self._json("POST", f"/api/v1/routines/{routine}/grants", json={"digest": digest})

    def set_secret(self, name: str, value: bytes, binding: Mapping[str, Any] | None) -> dict[str, Any]:
        """Set a value. It has to be text: it travels as JSON."""
        try:
            body = {"value": value.decode("utf-8"), **(binding or {})}
        except UnicodeDecodeError:
            raise UsageError("secret.no_text", "a value that goes to a server must be text") from None
        return self._json("POST", f"/api/v1/secrets/{quote(name, safe='')}", json=body)

    def secrets(self) -> list[dict[str, Any]]:
        """Return the secrets, without their values."""
        return list(self._json("GET", "/api/v1/secrets", again=True)["secrets"])

    def remove_secret(self, name: str) -> None:
        self._json("DELETE", f"/api/v1/secrets/{quote(name, safe='')}")

    def cancel(self, run: str) -> None:
        self._json("POST", f"/api/v1/runs/{run}/cancel")

    def row(self, run: str) -> dict[str, Any]:
        return self._json("GET", f"/api/v1/runs/{run}", again=True)

    def blob(self, run: str, digest: str) -> bytes:
        return self._call("GET", f"/api/v1/runs/{run}/blobs/{digest}", again=True).content

    def follow(self, run: str, after: int = 0) -> Iterator[JournalEvent]:
        """Yield a run's journal to its end. A connection that breaks is made anew, and goes on where it was."""
        failures = 0
        while True:
            try:
                with self._client.stream(
                    "GET", f"/api/v1/runs/{run}/stream", headers={"last-event-id": str(after)}
                ) as answer:
                    if answer.status_code == 204:
                        return
                    if not answer.is_success:
                        answer.read()
                        _raise(answer)
                    for kind, data in _messages(answer):
                        failures = 0
                        if kind == "run":
                            return
                        event = event_of(data)
                        after = event.seq
                        yield event
                failures += 1  # it ended without an end: the server stops
            except httpx.HTTPError as error:
                failures += 1
                if failures > _TRIES:
                    raise _unreachable(self.url, error) from None
            if failures > _TRIES:
                raise RemoteError("remote.cut", f"{self.url} keeps ending the stream", hint=f"run {run} goes on there")
            _pause(failures)

    def _json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        answer = self._call(method, path, **more)
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise RemoteError("remote.answer", f"{self.url} did not answer as Tickover does", hint="is it the address?")
        return told

    def _call(self, method: str, path: str, *, again: bool = False, **more: Any) -> httpx.Response:
        failures = 0
        while True:
            try:
                answer = self._client.request(method, path, **more)
            except httpx.HTTPError as error:
                failures += 1
                if not again or failures > _TRIES:
                    raise _unreachable(self.url, error) from None
                _pause(failures)
                continue
            except httpx.InvalidURL:
                raise UsageError("remote.url", "that is no address of a server", hint="http://HOST:PORT") from None
            if answer.is_success:
                return answer
            _raise(answer)


def pack(folder: Path) -> tuple[str, bytes]:
    """Return a routine's name, and the archive of what it is made of. Raises what loading raises."""
    loaded = load_folder(str(folder))
    name, packed = loaded.routine.name, io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for each in loaded.tree.list():
            _put(archive, f"routines/{name}/{each.path}", loaded.tree.read(each.path) or b"", each.mode & 0o111)
        for beside in sorted((folder.resolve().parent.parent / "environments").glob("*.yaml")):
            _put(archive, f"environments/{beside.name}", beside.read_bytes(), 0)
    return name, packed.getvalue()


def event_of(told: Mapping[str, Any]) -> JournalEvent:
    """Return the journal's event of what the API told: its times are text there."""
    data = dict(told["data"])
    if told["type"] == "retry_scheduled":
        data["at"] = _epoch(data["at"])
    return JournalEvent.model_validate({**told, "at": _epoch(told["at"]), "data": data})


def _put(archive: tarfile.TarFile, path: str, content: bytes, executable: int) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode = len(content), 0o755 if executable else 0o644
    archive.addfile(member, io.BytesIO(content))


def _messages(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = ""
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _pause(failures: int) -> None:
    threading.Event().wait(min(0.25 * 2**failures, 5))


def _unreachable(url: str, error: httpx.HTTPError) -> RemoteError:
    text = f"{url} cannot be reached: {type(error).__name__}"
    return RemoteError("remote.unreachable", text, hint="is `tickover up` running there?")


def _raise(answer: httpx.Response) -> None:
    try:
        told = answer.json()["error"]
        code, message, hint = str(told["code"]), str(told["message"]), str(told["hint"])
    except (ValueError, KeyError, TypeError):
        code, message, hint = "remote.answer", f"the server answered {answer.status_code}", ""
    kind = _KINDS.get(answer.status_code, RemoteError)
    raise kind(code, message, hint=hint)
