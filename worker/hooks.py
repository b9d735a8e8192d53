"""Calls what the application registered with `jobd.on`: all on one thread, in the order in which things happen.

Nobody waits for that thread but the start, for `startup`, and the end of a stop, for `shutdown` and `exit`. So a slow
hook delays other hooks, and neither the heartbeat nor a job.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from jobd.client import defaults, events
from jobd.client.errors import HookFailed
from jobd.client.events import Event, Hook
from jobd.client.policies import ErrorContext
from jobd.worker import log, on_error

_GLANCE = 0.05
"""Seconds between two looks of somebody who waits for hooks and for something else."""
_ONCE = frozenset({"beat", "heartbeat", "leader"})
"""Waiting once already, these are not told again: a hook that never ends must not fill the memory."""


class Hooks:
    """The hooks of one process that runs jobs. `tell` may come from any thread and never waits."""

    def __init__(self) -> None:
        self._todo: deque[Event] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_open = self._is_over = False
        self._current: tuple[str, Hook, float] | None = None
        self._told_slow = False
        self._failure: HookFailed | None = None

    def start(self, wait: Callable[[float], bool]) -> bool:
        """Run the hooks of `startup`, then those of what was told before and comes.

        Meanwhile it calls `wait` with a number of seconds; when that returns False, so does this, and nothing more is
        run. Raises HookFailed.
        """
        with self._changed:
            self._is_open = True
            self._todo.appendleft("startup")
            self._awake()
            self._changed.wait_for(lambda: "startup" not in self._todo, _GLANCE)
        while not self._is_through("startup"):
            if not wait(_GLANCE):
                self._close()
                return False
        if self._failure is not None:
            self._close()
            raise self._failure
        return True

    def tell(self, event: Event) -> None:
        """Have the hooks of `event` run."""
        self._look_at_current()
        with self._changed:
            if self._is_over or (event in _ONCE and event in self._todo):
                return
            self._todo.append(event)
            self._awake()

    def finish(self, deadline: float, hurried: Callable[[], bool]) -> None:
        """Run the hooks of `exit` after all that was told, and none after those.

        Until `deadline` (monotonic), or at once when `hurried` is true; what runs then is left behind, with a log line.
        """
        self.tell("exit")
        while self._is_open and not self._is_idle() and time.monotonic() < deadline and not hurried():
            with self._changed:
                self._changed.wait(min(_GLANCE, max(0.0, deadline - time.monotonic())))
        left = self._close()
        if left:
            log.event("hook.abandoned", level=log.WARNING, **left, hint="it did not end within the time of the stop")

    def _awake(self) -> None:
        """The thread is there from the first hook on: most applications have none. Under the lock."""
        if not self._is_open:
            return
        if self._thread is None:
            while self._todo and not events.hooks(self._todo[0]):
                self._todo.popleft()
            if not self._todo:
                return
            self._thread = threading.Thread(target=self._run, name="jobd-hooks", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._todo and not self._is_over:
                    self._changed.wait()
                if self._is_over:
                    return
                # It stays in front until its hooks have run, so that "idle" is one look.
                event = self._todo[0]
            self._call_all(event)
            with self._changed:
                if not self._is_over:
                    self._todo.remove(event)
                self._changed.notify_all()

    def _call_all(self, event: Event) -> None:
        for hook in events.hooks(event):
            if self._is_over:
                return
            self._current, self._told_slow = (event, hook, time.monotonic()), False
            try:
                hook()
            except BaseException as error:  # also SystemExit: a hook must not end the thread that runs the others
                if event == "startup":
                    self._failure = HookFailed(_explain(hook, error))
                    return
                log.event("hook.failed", level=log.ERROR, on=event, hook=events.name_of(hook), exc_info=error)
                on_error.tell(error, ErrorContext(event="hook.failed", component=event))
            finally:
                self._current = None

    def _is_through(self, event: Event) -> bool:
        with self._changed:
            return event not in self._todo

    def _is_idle(self) -> bool:
        with self._changed:
            return not self._todo

    def _close(self) -> dict[str, Any]:
        """Start no more hooks; returns what of the one that runs."""
        with self._changed:
            self._is_over = True
            self._todo.clear()
            self._changed.notify_all()
            current = self._current
        return {"on": current[0], "hook": events.name_of(current[1])} if current else {}

    def _look_at_current(self) -> None:
        current = self._current
        if current is None or self._told_slow or time.monotonic() - current[2] < defaults.HOOK_SLOW:
            return
        self._told_slow = True
        event, hook, since = current
        seconds = round(time.monotonic() - since, 1)
        log.event("hook.slow", level=log.WARNING, on=event, hook=events.name_of(hook), seconds=seconds)


def _explain(hook: Hook, error: BaseException) -> str:
    """What went wrong in a hook of `startup`, with the traceback from its first frame on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    trace = "".join(traceback.format_exception(type(error), error, frames))
    return f"the startup hook {events.name_of(hook)} failed: {type(error).__name__}: {error}\n{trace.rstrip()}"
