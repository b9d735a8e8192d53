"""The pidfile, and the lock that lets one jobd at a time use it.

`<pidfile>` is one line, the master's pid, for people and scripts: `kill -TSTP $(cat jobd.pid)`. It decides nothing,
so a stale one blocks no start, whoever has that pid by now. What decides is a lock on `<pidfile>.lock`, which ends
with the process that holds it. That file names its holder and is never removed: a starter could else lock a file
that the next one no longer finds.

A lock is a descriptor, shared by forked processes: it is given up when its last copy is closed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from jobd.client.errors import AlreadyRunning, ConfigError, NotPermitted
from jobd.client.version import VERSION
from jobd.worker.host import start_time

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_MODE = 0o644
_LONGEST = 1024
"""Bytes read of a file: more than jobd ever writes."""


@dataclass(frozen=True)
class Owner:
    """Who holds a pidfile, as its lock file tells it: pid, start time (as `start_time` gives it), version of jobd."""

    pid: int
    start: str
    version: str

    @classmethod
    def this_process(cls) -> Owner:
        """The calling process."""
        return cls(os.getpid(), start_time(os.getpid()), VERSION)

    @classmethod
    def of(cls, pidfile: Path) -> Owner | None:
        """Who holds, or has held, a pidfile; None when nobody is known."""
        try:
            return _parse(_lock_of(pidfile).read_bytes())
        except OSError:
            return None

    @property
    def alive(self) -> bool:
        """Whether that very process runs, not another one that got its pid."""
        return bool(self.start) and start_time(self.pid) == self.start


class Pidfile:
    """The pidfile at `path`, from `acquire` to `release`; a relative path starts at the directory of now.

    When the holder forks, each process has a copy of the lock. A child lets go of its own with
    `after_fork_in_child`. A daemon keeps it, and calls `write` for its new pid.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock_path = _lock_of(self.path)
        self._lock: int | None = None

    @property
    def preserve(self) -> int:
        """The lock's descriptor, which a daemon must not close. Raises RuntimeError while there is none."""
        if self._lock is None:
            raise RuntimeError(f"pidfile {self.path}: its lock is not held")
        return self._lock

    def acquire(self) -> None:
        """Take the lock; parent folders are made, the pidfile itself is left to `write`.

        Raises `AlreadyRunning` when another process holds it or the files are not jobd's, `ConfigError` when they
        cannot be written.
        """
        try:
            self._refuse_foreign_files()
            _prepare_folder(self.path.parent)
            self._lock = _try_lock(self._lock_path)
            if self._lock is None:
                raise self._already_running()
            self._sign()
        except OSError as error:
            self._close()
            raise self._unusable(error) from error

    def write(self) -> None:
        """Put the pid of this process into the pidfile; may come again. Raises `ConfigError` and RuntimeError."""
        try:
            self._sign()
            _replace(self.path, b"%d\n" % os.getpid())
        except OSError as error:
            raise self._unusable(error) from error

    def release(self) -> None:
        """Remove the pidfile if it still names this process, then let go of the lock.

        May come twice, or without the lock; a folder that is gone or closed by now is no error.
        """
        if self._lock is None:
            return
        with contextlib.suppress(OSError, AlreadyRunning):
            if _read(self.path).strip() == b"%d" % os.getpid():
                self.path.unlink()
        self._close()

    def after_fork_in_child(self) -> None:
        """Let go of the lock in a forked child; its parent still holds it. `release` does nothing from then on."""
        self._close()

    def _close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)  # no LOCK_UN: that would unlock it for all who share it
        self._lock = None

    def _sign(self) -> None:
        """Name this process in the lock file."""
        lock = self.preserve
        os.ftruncate(lock, 0)
        os.pwrite(lock, msgspec.json.encode(asdict(Owner.this_process())) + b"\n", 0)

    def _refuse_foreign_files(self) -> None:
        """Raise `AlreadyRunning` before anything of somebody else's is overwritten, or a lock put beside it."""
        content = _read(self.path).strip()
        if content and not content.isdigit():
            raise _foreign(self.path, f"its content is {_shown(content)}")
        record = _read(self._lock_path)
        if record and not _parse(record):
            raise _foreign(self._lock_path, f"its content is {_shown(record)}")

    def _already_running(self) -> AlreadyRunning:
        owner = _parse(_read(self._lock_path))
        if owner is None or not owner.alive:  # it has not signed yet, or is in another container
            return AlreadyRunning(f"another jobd holds pidfile {self.path}: stop it first, or name another with -P")
        return AlreadyRunning(
            f"another jobd (pid {owner.pid}, version {owner.version}) holds pidfile {self.path}: "
            f"stop it first (kill -TERM {owner.pid}), or name another with -P"
        )

    def _unusable(self, error: OSError) -> ConfigError:
        kind = NotPermitted if isinstance(error, PermissionError) else ConfigError
        return kind(f"uid {os.geteuid()} cannot write pidfile {self.path}: {error}; mend that, or name another with -P")


def _prepare_folder(folder: Path) -> None:
    """Make the folder, and see to it now that `write`, which comes when the caller may be gone, will succeed."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _try_lock(path: Path) -> int | None:
    """Lock the file at once: its descriptor, or None when somebody holds it."""
    while True:
        descriptor = os.open(path, _LOCK, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # swapped since it was opened: the next starter would lock another file


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _replace(path: Path, content: bytes) -> None:
    """Write a file in one step for its readers. Only for the holder of the lock: the name in between is fixed."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        with open(os.open(new, _CREATE, _MODE), "wb") as file:
            file.write(content)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _read(path: Path) -> bytes:
    """The beginning of a file, empty when there is none. Raises `AlreadyRunning` when it is no ordinary file."""
    try:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise _foreign(path, f"it is a {_KINDS.get(stat.S_IFMT(mode), 'special file')}")
        with open(os.open(path, _READ), "rb") as file:
            return file.read(_LONGEST)
    except FileNotFoundError:
        return b""


_KINDS = {stat.S_IFLNK: "symlink", stat.S_IFDIR: "directory"}


def _lock_of(pidfile: Path) -> Path:
    return pidfile.with_name(f"{pidfile.name}.lock")


def _parse(record: bytes) -> Owner | None:
    try:
        return msgspec.json.decode(record, type=Owner)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _foreign(path: Path, reason: str) -> AlreadyRunning:
    return AlreadyRunning(f"{path} is not jobd's, {reason}: remove it, or name another pidfile with -P")


def _shown(content: bytes) -> str:
    text = content.decode(errors="replace")
    return repr(text if len(text) <= 40 else text[:40] + "…")
