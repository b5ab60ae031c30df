"""Pushed routines: each push is an immutable folder that any later process runs from, and its schedules stand in rows.

DATA/routines/NAME/VERSION/routines/NAME/...      the routine's folder, as it was pushed
DATA/routines/NAME/VERSION/environments/X.yaml    the environment that it names
DATA/routines/NAME/VERSION/origin                 the repository that `url: .` means, if it was in one
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from tickover.core.built import not_yet
from tickover.core.definition import Routine
from tickover.core.errors import DefinitionErrors, NotFoundError
from tickover.core.schedule import Plan, next_slot, offset_of, plan_of, schedule_id, spec_of
from tickover.core.trigger import ScheduleTrigger
from tickover.routines.loader import FILE, Loaded, load, load_folder
from tickover.routines.tree import FolderTree
from tickover.routines.version import canonical
from tickover.store.server import Advance, RoutineRecord, ScheduleRecord, ServerStore

FOLDER: Final = "routines"
_VERSION: Final = re.compile(r"[0-9a-f]{64}")
_EXECUTABLE: Final = 0o100755
_LINK: Final = 0o120000
_KEPT_LOADED: Final = 1024  # definitions that are not read again


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push made. `changed` is false where that very version ran already; `next_at` is the next firing.

    `never` are schedules without one: an `at` that is past, a day that no calendar has.
    """

    name: str
    version: str
    changed: bool
    folder: Path
    next_at: float | None
    never: tuple[str, ...] = ()


class Registry:
    """The pushed routines of one data folder.

    `now` is the wall clock; `possible` raises DefinitionErrors for what this instance can never give.
    """

    def __init__(
        self,
        store: ServerStore,
        data: Path,
        now: Callable[[], float],
        possible: Callable[[Loaded, Routine], object] = lambda _loaded, _routine: None,
    ) -> None:
        self._store = store
        self._root = data / FOLDER
        self._now = now
        self._possible = possible
        self._loaded: dict[tuple[str, str], Loaded] = {}
        self._not_yet: dict[tuple[str, str], tuple[str, ...]] = {}

    def push(self, folder: str, by: str) -> Pushed:
        """Copy and record a routine.

        Raises what loading raises, and DefinitionErrors for what this build cannot do or this instance not give.
        """
        loaded = load_folder(folder)
        routine = loaded.routine
        missing = not_yet(routine, "push")
        if missing:
            raise DefinitionErrors(list(missing))
        self._possible(loaded, routine)
        version = self.copy(folder)
        target = self._root / routine.name / version
        before = self._store.routines.get(routine.name)
        now = self._now()
        self._store.routines.put(routine.name, version, at=now, by=by)
        schedules = plans_of(routine, now, enabled=before is None or before.paused_at is None)
        self._store.schedules.replace(routine.name, schedules)
        firing = [each.fire_at for each in self._store.schedules.of(routine.name) if each.fire_at and each.enabled]
        changed = before is None or before.version != version
        never = tuple(_says(each.spec) for each in schedules if each.slot is None)
        return Pushed(routine.name, version, changed, target / FOLDER / routine.name, min(firing, default=None), never)

    def copy(self, folder: str) -> str:
        """Keep a routine's folder as it is now, and return its version; it is not pushed. Raises what loading does."""
        if is_pushed(self._root.parent, folder):
            return Path(folder).parents[1].name
        loaded = load_folder(folder)
        files = _files(loaded, folder)
        version = _digest(files)
        target = self._root / loaded.routine.name / version
        if not target.is_dir():
            _write(target, files)
        return version

    def list(self) -> Sequence[RoutineRecord]:
        """Return every pushed routine, by name."""
        return self._store.routines.list()

    def get(self, name: str) -> RoutineRecord:
        """Return a pushed routine. Raises NotFoundError."""
        found = self._store.routines.get(name)
        if found is None:
            raise NotFoundError("routine.not_found", f"no routine `{name}` was pushed", hint="`tickover push FOLDER`")
        return found

    def folder(self, name: str, version: str) -> Path:
        """Return the folder that a version runs from."""
        return self._root / name / version / FOLDER / name

    def loaded(self, name: str, version: str) -> Loaded:
        """Load a version, once per process: it never changes. Raises NotFoundError, DefinitionErrors."""
        key = (name, version)
        if key not in self._loaded:
            if not _VERSION.fullmatch(version):
                raise NotFoundError("routine.not_found", f"`{version}` is no version of a routine")
            while len(self._loaded) >= _KEPT_LOADED:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[key] = load_pushed(self.folder(name, version))
        return self._loaded[key]

    def not_yet(self, name: str, version: str) -> tuple[str, ...]:
        """Return where a version asks for what this build cannot do; looked for once. Raises as `loaded`."""
        key = (name, version)
        if key not in self._not_yet:
            while len(self._not_yet) >= _KEPT_LOADED:
                self._not_yet.pop(next(iter(self._not_yet)))
            self._not_yet[key] = tuple(str(each.where) for each in not_yet(self.loaded(name, version).routine, "up"))
        return self._not_yet[key]

    def pause(self, name: str, by: str, reason: str) -> RoutineRecord:
        """Start nothing of it any more; what runs goes on. No slot is expected meanwhile, so none is missed.

        Raises NotFoundError.
        """
        self.get(name)
        self._store.routines.pause(name, at=self._now(), by=by, reason=reason)
        self._store.schedules.enable(name, enabled=False)
        return self.get(name)

    def resume(self, name: str, by: str) -> RoutineRecord:
        """Let it start again; its schedules go on from now. Raises NotFoundError."""
        del by  # the audit log of whoever calls has it
        self.get(name)
        now = self._now()
        self._store.routines.resume(name, at=now)
        self._store.schedules.enable(name, enabled=True, plans=[
            _from_now(each, now) for each in self._store.schedules.of(name) if not each.enabled
        ])  # fmt: skip
        return self.get(name)


def is_pushed(data: Path, folder: Path | str) -> bool:
    """Tell whether a folder is that of a pushed version."""
    match os.path.relpath(folder, data / FOLDER).split(os.sep):
        case [name, version, "routines", again]:
            return name == again and _VERSION.fullmatch(version) is not None
    return False


def load_pushed(folder: Path) -> Loaded:
    """Load a version's folder: what it calls `.` is the repository that it was pushed from."""
    base = folder.parents[1]
    origin = base / "origin"
    address = origin.read_text(encoding="utf-8") if origin.is_file() else None
    environments = FolderTree(str(base / "environments"))
    return load(FolderTree(str(folder)), folder.name, environments, str(folder / FILE), address)


def plans_of(routine: Routine, now: float, *, enabled: bool = True) -> list[ScheduleRecord]:
    """Return the routine's schedules, each at its first slot after `now`."""
    found: list[ScheduleRecord] = []
    for trigger in routine.on:
        if not isinstance(trigger, ScheduleTrigger):
            continue
        spec = spec_of(trigger)
        again = sum(each.spec == spec for each in found)
        id_ = schedule_id(routine.name, spec, again)
        plan = plan_of(trigger, ZoneInfo(trigger.time_zone))
        slot = next_slot(plan, now)
        fire_at = None if slot is None else slot + offset_of(id_, plan.stagger_s)
        found.append(ScheduleRecord(id_, routine.name, spec, slot, fire_at, now, enabled))
    return found


def _says(spec: Mapping[str, object]) -> str:
    return next(f"`{key}: {spec[key]}`" for key in ("cron", "every", "at") if key in spec)


def plan_of_record(record: ScheduleRecord) -> Plan:
    """Return the plan of a schedule's row."""
    trigger = ScheduleTrigger.model_validate(dict(record.spec))
    return plan_of(trigger, ZoneInfo(trigger.time_zone))


def _from_now(record: ScheduleRecord, now: float) -> Advance:
    plan = plan_of_record(record)
    slot = next_slot(plan, now)
    fire_at = None if slot is None else slot + offset_of(record.id, plan.stagger_s)
    return Advance(record.id, record.slot, (), slot, fire_at, now)


Files = dict[str, tuple[int, bytes]]


def _files(loaded: Loaded, folder: str) -> Files:
    """Return path below the version's folder -> git's mode and bytes."""
    name = loaded.routine.name
    files: Files = {
        f"{FOLDER}/{name}/{each.path}": (each.mode, loaded.tree.read(each.path) or b"") for each in loaded.tree.list()
    }
    environment = loaded.document.data.get("environment") if isinstance(loaded.document.data, dict) else None
    if isinstance(environment, str):
        path = f"environments/{environment}.yaml"
        above = FolderTree(os.path.dirname(os.path.dirname(os.path.abspath(folder))))
        files[path] = (0o100644, above.read(path) or b"")
    origin = origin_of(loaded)
    if origin is not None:
        files["origin"] = (0o100644, origin.encode())
    return files


def origin_of(loaded: Loaded) -> str | None:
    """Return the address that `url: .` stands for in this routine, if it uses it."""
    repositories = loaded.document.data.get("repositories") if isinstance(loaded.document.data, dict) else None
    if not isinstance(repositories, dict):
        return None
    for name, each in loaded.routine.repositories.items():
        said = repositories.get(name)
        if isinstance(said, dict) and said.get("url") == ".":
            return each.url
    return None


def _digest(files: Files) -> str:
    told = [(path, mode, hashlib.sha256(content).hexdigest()) for path, (mode, content) in sorted(files.items())]
    return hashlib.sha256(canonical(told)).hexdigest()


def _write(target: Path, files: Files) -> None:
    """Write a version beside its place and move it there: it is complete or not there at all."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = target.parent / f".{secrets.token_hex(8)}"
    try:
        for path, (mode, content) in files.items():
            place = unfinished / path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if mode == _LINK:
                place.symlink_to(os.fsdecode(content))
                continue
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(place, flags, 0o500 if mode == _EXECUTABLE else 0o400), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for folder, _, _ in os.walk(unfinished):
            _sync(folder)
        try:
            os.rename(unfinished, target)
        except OSError:
            if not target.is_dir():  # else somebody else pushed the same at the same time
                raise
            shutil.rmtree(unfinished)
        _sync(target.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _sync(folder: str | Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
