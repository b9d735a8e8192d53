"""A file to which the threads of several processes append their log, and which others may rename at any time.

What is written there, and in which form, is up to the caller; nothing here logs or waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

LOOK_INTERVAL = 1.0
"""Seconds between two looks at whether the file at the path is still the one that is open."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_MODE = 0o640
_STANDARD_STREAMS = (1, 2)
_CLOSED = -1


class LogFile:
    """Appends records to the file at `path`, each with a single write.

    The descriptor keeps its number for life, so that threads in the middle of a write, and processes forked later,
    need no lock. Standard streams that lead into the file follow it when it is opened anew.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Open the file, making it and its parent folders where needed. Raises OSError."""
        # A daemon may change its directory later.
        self._path, self._monotonic = path.absolute(), monotonic
        self._fd = self._open()
        self._looked_at = monotonic()
        self._torn = False

    @property
    def path(self) -> Path:
        """Where the file is, or was before somebody renamed it; absolute."""
        return self._path

    def fileno(self) -> int:
        """The descriptor; the same number also after `reopen`."""
        return self._fd

    def append(self, record: bytes) -> int:
        """Write a record, which ends with a line break; returns how much of it is in the file. Never raises."""
        # A line of which only the beginning found room must not swallow the one after it.
        data = b"\n" + record if self._torn else record
        try:
            written = os.write(self._fd, data)
        except OSError:
            return 0
        if written:
            self._torn = data[written - 1 : written] != b"\n"
        return max(written - (len(data) - len(record)), 0)

    def follow(self) -> None:
        """Reopen if the file at the path is gone or another one; looks once in `LOOK_INTERVAL`. Raises OSError."""
        now = self._monotonic()
        if now - self._looked_at < LOOK_INTERVAL:
            return
        self._looked_at = now
        if not self._is_in_place():
            self.reopen()

    def reopen(self) -> None:
        """Go on in the file that is now at the path, made where needed. Raises OSError, and keeps the old one then."""
        fresh = self._open()
        try:
            for standard in filter(self._leads_here, _STANDARD_STREAMS):
                os.dup2(fresh, standard)
            os.dup2(fresh, self._fd, inheritable=False)
        finally:
            os.close(fresh)
        self._torn = False

    def close(self) -> None:
        """Give the descriptor up; what is appended later is lost. May come twice."""
        # The number is forgotten first: it may soon be some other file's.
        descriptor, self._fd = self._fd, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            return os.open(self._path, _FLAGS, _MODE)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, _FLAGS, _MODE)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _leads_here(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.fstat(self._fd))
        except OSError:
            return False
