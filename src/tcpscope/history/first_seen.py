"""The store of one boot: a small JSON file that only its owner can read, written whole or not at all.

``$XDG_STATE_HOME/tcpscope``, else ``/run/tcpscope`` for root and ``~/.local/state/tcpscope`` for others. A file that is
damaged, too large, of another boot, or not our own is as good as none: the first look simply knows no ages.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

from tcpscope.model.history import History, KnownListener, Sighting

SCHEMA = "tcpscope.first-seen/1"
MAX_BYTES = 8 << 20


def store_folder() -> Path:
    """Return where the store is kept."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if state.startswith("/"):
        return Path(state, "tcpscope")
    return Path("/run/tcpscope") if os.geteuid() == 0 else Path(os.path.expanduser("~"), ".local/state/tcpscope")


def read_history(boot_id: str, folder: Path | None = None) -> History:
    """Read what earlier looks of this boot saw; an empty history when there is nothing to trust."""
    try:
        text = _read_own(_path(boot_id, folder))
        return _parse(json.loads(text), boot_id) if text else History()
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return History()


def write_history(history: History, boot_id: str, folder: Path | None = None) -> bool:
    """Write the history atomically, and drop those of earlier boots. Returns whether it could be written."""
    path = _path(boot_id, folder)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_own(os.stat(path.parent))
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(_spell(history, boot_id), file, separators=(",", ":"))
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        return False
    _forget_other_boots(path)
    return True


def _path(boot_id: str, folder: Path | None) -> Path:
    safe = "".join(char for char in boot_id if char.isalnum() or char == "-")[:64] or "unknown"
    return (folder or store_folder()) / f"first-seen-{safe}.json"


def _read_own(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        _check_own(status)
        return file.read(MAX_BYTES) if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES else ""


def _check_own(status: os.stat_result) -> None:
    """Refuse what somebody else could have written: it would decide about ages."""
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError("not ours alone")


def _forget_other_boots(path: Path) -> None:
    for other in path.parent.glob("first-seen-*.json"):
        if other != path:
            with contextlib.suppress(OSError):
                other.unlink()


def _spell(history: History, boot_id: str) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "boot_id": boot_id,
        "started_ns": history.started_ns,
        "looks": history.looks,
        "sightings": [[*key, *one] for key, one in history.sightings.items()],
        "listeners": [[*key, *one] for key, one in history.listeners.items()],
        "trends": {name: list(map(list, rows)) for name, rows in history.trends.items()},
    }


def _parse(tree: dict[str, object], boot_id: str) -> History:
    if tree["schema"] != SCHEMA or tree["boot_id"] != boot_id:
        return History()
    sightings, listeners, trends = tree["sightings"], tree["listeners"], tree["trends"]
    if not isinstance(sightings, list) or not isinstance(listeners, list) or not isinstance(trends, dict):
        return History()
    return History(
        started_ns=_number(tree["started_ns"]),
        looks=_number(tree["looks"]),
        sightings={(_number(r[0]), _number(r[1]), _number(r[2])): Sighting(*map(_number, r[3:6])) for r in sightings},
        listeners={
            (_number(r[0]), str(r[1]), _number(r[2])): KnownListener(
                _number(r[3]), _number(r[4]), str(r[5]), _number(r[6])
            )
            for r in listeners
        },
        trends={str(name): tuple((_number(r[0]), _number(r[1])) for r in rows) for name, rows in trends.items()},
    )


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no number")
    return value
