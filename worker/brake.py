"""Interrupts what one thread does, from another one: during one piece of work, and neither before nor after it.

Python raises the exception when the thread comes to run its next line, which may be any later one. So the thread ends
its piece of work by raising something else in place of what has not been raised yet. There is no lock, which an
exception might leave locked: each side first says what it does and then looks at what the other has said.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from typing import Any

from jobd.client.errors import JobCancelled

_GLANCE = 0.0001
"""Seconds between two looks whether the other thread has decided, which it does at once."""
_TURNS = 1000
"""Of a loop that does nothing, in the first of which an exception comes that was raised by a thread in itself."""
_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = [ctypes.c_ulong, ctypes.py_object]


class _Instead(BaseException):
    """Takes the place of an exception that was not raised yet, and is caught where it is raised."""


class _Request:
    """That a thread be interrupted in a piece of work; `made` once it was, `decided` once that is known."""

    __slots__ = ("decided", "job", "made")

    def __init__(self, job: object) -> None:
        self.job, self.made, self.decided = job, False, False


class Brake:
    """Of one thread, which sets `job` to its piece of work, and to None before it calls `let_go`."""

    __slots__ = ("job", "request")

    def __init__(self) -> None:
        self.job: object = None
        self.request: _Request | None = None

    def pull(self, thread: int, job: object) -> bool:
        """Raise JobCancelled in the thread of this number if it is at `job` now, once for each; False: it is not.

        From one thread, always the same.
        """
        before = self.request
        if before is not None and before.job is job and before.made:
            return True
        self.request = request = _Request(job)
        if self.job is job:
            request.made = True
            _raise_in(thread, JobCancelled)
        request.decided = True
        return request.made

    def let_go(self) -> None:
        """Have nothing raised any more from the return on; until then it may be. For the thread itself."""
        request = self.request
        while request is not None and not request.decided:
            time.sleep(_GLANCE)
        # Taken back without being raised it would leave Python 3.11 and 3.12 looking for it in every thread for ever:
        # slow, and under a trace (a debugger, a measure of coverage) the next call of 3.11 would never end.
        try:
            _raise_in(threading.get_ident(), _Instead)
            # It comes at the first jump back, unless another thread has taken it back, as some time-out helpers do.
            for _ in range(_TURNS):
                pass
        except _Instead:
            return

    def pulled_for(self, job: object) -> bool:
        """Whether the thread was interrupted at `job`, or would have been had it not ended by then."""
        request = self.request
        return request is not None and request.job is job and request.made

    def forget(self) -> None:
        """Know no more what was asked. For the thread itself, between two pieces of work."""
        request = self.request
        if request is not None and request.decided:
            self.request = None


def free_logging() -> None:
    """Release the locks of logging that this thread holds. For one that was interrupted and logs nothing now.

    Up to Python 3.12 a handler is locked by a line of Python, after which the exception may come before the `try`.
    """
    # There is no public list of all handlers, nor a public way to ask a lock for its owner.
    handlers: list[Any] = [ref() for ref in list(getattr(logging, "_handlerList", ()))]
    for lock in [getattr(logging, "_lock", None), *(getattr(handler, "lock", None) for handler in handlers)]:
        is_owned = getattr(lock, "_is_owned", None)
        while lock is not None and is_owned is not None and is_owned():
            lock.release()
