"""Waits for many files in one thread, and has the one act whose file is ready."""

from __future__ import annotations

import selectors
from collections.abc import Callable

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Loop:
    """A selector that knows for each descriptor what is to be done. Not for use by several threads."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, fd: int, act: Callable[[], None], events: int = READ) -> None:
        """Have `act` called whenever `fd` is ready for `events`; replaces what was set for it before."""
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, act)
        else:
            self._selector.register(fd, events, act)

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer; to be called before it is closed. May come twice."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def wait(self, seconds: float) -> None:
        """Wait up to `seconds` for any file, then let all that are ready act."""
        for key, _ in self._selector.select(seconds):
            # One that acted before may have closed this file, and another may have its number by now.
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def close(self) -> None:
        """Give the selector's own descriptor back, in the process that made it or in a fork of it."""
        self._selector.close()
