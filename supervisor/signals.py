"""Signals as numbers in a pipe, so that nothing happens inside a handler."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence

_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_REST = (
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
CONTROL = (*_STOP, *_REST)
"""What jobd is controlled by; `docs/running.md` says what each does."""
MASTER = (*CONTROL, signal.SIGCHLD)
CHILD = CONTROL
"""It takes INT too and does nothing then: what its jobs start must not inherit that it is ignored."""
DUMP = signal.SIGRTMIN
"""Has faulthandler write the stacks of a child that cannot do so itself. While its threads run that could crash it."""
HARMLESS = tuple(
    getattr(signal, name)
    for name in ("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPWR", "SIGIO", "SIGURG", "SIGWINCH")
    if hasattr(signal, name)
)
"""They mean nothing to a master, and the default of most would be its end."""


class Interrupted(BaseException):
    """A signal ends what the main thread does. Not an Exception, which what it does might take for its own."""


class SignalPipe:
    """Catches signals; each arrives as one byte at `fd`, to be read by a selector's loop."""

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self.fd, self._write_end = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_end, False)
        self._signals = tuple(signals)
        self.catch()

    def catch(self) -> None:
        """Be the one that catches, again if something else was put in its place."""
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in self._signals:
            signal.signal(number, _noted)

    def read(self) -> list[signal.Signals]:
        """The signals that came since the last call, in order."""
        try:
            return [signal.Signals(number) for number in os.read(self.fd, 4096)]
        except BlockingIOError:
            return []

    def catches(self, number: signal.Signals) -> bool:
        """Whether `number` is among the signals caught."""
        return number in self._signals

    def wait_no_longer_for(self, number: signal.Signals, act: Callable[[], None]) -> None:
        """Have `act` done at once when `number` comes, in between whatever the main thread waits for."""
        signal.signal(number, lambda *_: act())

    def block(self) -> None:
        """Let none of the signals have any effect on this process any more."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)

    @contextlib.contextmanager
    def interrupting(self, numbers: Sequence[signal.Signals]) -> Iterator[None]:
        """Have the first of these signals raise Interrupted in the body, whatever that does. It arrives at `fd` too."""
        armed = True

        def interrupt() -> None:
            nonlocal armed
            if armed:
                armed = False
                raise Interrupted

        try:
            for number in numbers:
                self.wait_no_longer_for(number, interrupt)
            yield
        finally:
            armed = False
            for number in numbers:
                signal.signal(number, _noted)

    def close(self) -> None:
        """Stop catching: the signals have their default effect again."""
        signal.set_wakeup_fd(-1)
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Give the descriptors back in a forked child, which catches signals in a pipe of its own."""
        os.close(self.fd)
        os.close(self._write_end)


def ignore_harmless() -> None:
    """Ignore what means nothing to a master."""
    for number in HARMLESS:
        signal.signal(number, signal.SIG_IGN)


def reset() -> None:
    """Give every signal its default effect again, in a forked child; only what Python itself ignores stays so."""
    signal.set_wakeup_fd(-1)
    for number in (*MASTER, *HARMLESS):
        signal.signal(number, signal.SIG_DFL)


def _noted(number: int, frame: object) -> None:
    """The wakeup descriptor has it already; without a Python handler there would be no wake-up."""
