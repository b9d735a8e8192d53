"""Where the control socket of a jobd is: beside its pidfile, or by a short name in a directory of the user's own.

The kernel takes no longer name for a socket than about 100 bytes. A directory in which others may write is never
used: who puts a socket there could speak for jobd.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jobd.client.errors import ConfigError

LONGEST = 100
"""Bytes of a socket's path."""


def socket_path(pidfile: Path) -> Path:
    """Where the jobd of `pidfile` is to listen: at `<pidfile>.sock`, unless that is too long.

    Else it is in `$XDG_RUNTIME_DIR`, in /run/user/UID, or in a directory below the temporary one, which is made.
    Raises ConfigError when that directory is somebody else's.
    """
    beside = _beside(pidfile)
    if _fits(beside):
        return beside
    directory = next(_runtime_directories(os.geteuid()), None) or _made_directory(os.geteuid())
    return _in(directory, beside)


def find_socket(pidfile: Path) -> Path:
    """Where the jobd of `pidfile`, whoever started it, listens, or would if it ran. Raises ConfigError."""
    beside = _beside(pidfile)
    if _fits(beside):
        return beside
    user = _owner_of(beside.with_suffix(".lock"))
    # Its environment may have named another directory than this one does.
    possible = [_in(directory, beside) for directory in _runtime_directories(user)]
    last = _temporary_directory(user)
    if last.exists():
        _refuse_foreign(last, user)
    return next((path for path in possible if path.is_socket()), _in(last, beside))


def _beside(pidfile: Path) -> Path:
    # Two ways to one pidfile lead to one socket.
    return pidfile.parent.resolve() / f"{pidfile.name}.sock"


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST


def _in(directory: Path, beside: Path) -> Path:
    path = directory / f"jobd-{hashlib.sha256(os.fsencode(beside)).hexdigest()[:16]}.sock"
    if not _fits(path):
        raise ConfigError(f"no control socket fits into {directory}: name a pidfile with a shorter path with -P")
    return path


def _runtime_directories(user: int) -> Iterator[Path]:
    """The directories that the system keeps for this user; those that belong to somebody else are passed over."""
    for name in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{user}"):
        if os.path.isabs(name) and _is_private(Path(name), user):
            yield Path(name)


def _temporary_directory(user: int) -> Path:
    return Path(tempfile.gettempdir()) / f"jobd-{user}"


def _made_directory(user: int) -> Path:
    directory = _temporary_directory(user)
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"no place for a control socket: {error}; name a pidfile with a shorter path with -P"
        ) from error
    _refuse_foreign(directory, user)
    return directory


def _refuse_foreign(directory: Path, user: int) -> None:
    if not _is_private(directory, user):
        raise ConfigError(
            f"{directory} is not a directory of uid {user} alone, so no control socket can be there: remove it, "
            "or name a pidfile with a shorter path with -P"
        )


def _is_private(directory: Path, user: int) -> bool:
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077


def _owner_of(path: Path) -> int:
    """The user of a file; of this process, when there is none."""
    try:
        return path.stat().st_uid
    except OSError:
        return os.geteuid()
