"""The private directory of an embedded store: who may enter it, who owns it, what its log says.

A lock is a descriptor: closing its last copy, or the end of the processes that hold it, gives it up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from jobd.client.errors import AlreadyRunning, StoreUnavailable

POLL = 0.02
"""Seconds between two looks at a lock or a server."""
_LOG_LINES = 8


def prepare_directory(directory: Path) -> None:
    """Make the directory, and make sure that nobody but this user can enter it.

    Raises `StoreUnavailable` and `OSError`.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise StoreUnavailable(
            f"{directory} belongs to uid {found.st_uid}, and jobd runs as uid {os.geteuid()}: "
            "run as its owner, or name another directory with --embedded"
        )
    if found.st_mode & 0o077:
        _close_to_others(directory, found.st_mode & 0o777)


def _close_to_others(directory: Path, mode: int) -> None:
    if any(directory.iterdir()):
        raise StoreUnavailable(
            f"{directory} is open to other users (mode {mode:o}) and not empty: "
            f"chmod 700 {directory}, or name another directory with --embedded"
        )
    directory.chmod(0o700)


def own(directory: Path) -> int:
    """Lock the directory for this process and return the lock's descriptor. Raises `AlreadyRunning`."""
    path = directory / "lock"
    lock = try_lock(path)
    if lock is None:
        raise AlreadyRunning(
            f"another jobd{_owner(path)} owns the embedded store in {directory}: "
            "stop it first, or name another directory with --embedded"
        )
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def _owner(path: Path) -> str:
    text = path.read_text().strip()
    return f" (pid {text})" if text else ""


def try_lock(path: Path) -> int | None:
    """Take a lock at once: its descriptor, or None when somebody holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock."""
    descriptor = try_lock(path)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def release(lock: int) -> None:
    """Close this process' copy of a lock; it stays held by those who share it."""
    os.close(lock)  # no LOCK_UN: that would unlock it for all of them


def lock_within(path: Path, seconds: float, clock: Callable[[], float]) -> int:
    """Take a lock that may be held a moment longer: a killed server can leave a child rewriting its data.

    Raises `StoreUnavailable` after `seconds`.
    """
    deadline = clock() + seconds
    while (descriptor := try_lock(path)) is None:
        if clock() > deadline:
            raise StoreUnavailable(
                f"{path} is held by a process that is no server of this store and does not end; "
                f"find it with `fuser {path}` and end it"
            )
        time.sleep(POLL)
    return descriptor


def last_lines(path: Path, start: int) -> str:
    """The last lines that a log got after byte `start`."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(line for line in lines[-_LOG_LINES:] if line.strip())
    return "(no log)"
