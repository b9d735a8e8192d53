"""Signals as numbers in a pipe, so that nothing happens inside a handler."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable

CONTROL = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGUSR1,
)
"""What jobd is controlled by; `docs/running.md` says what each does."""


class SignalPipe:
    """Catches signals; each arrives as one byte at `fd`, to be read by a selector's loop."""

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self.fd, self._write_end = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_end, False)
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        self._signals = tuple(signals)
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

    def close(self) -> None:
        """Stop catching: the signals have their default effect again."""
        signal.set_wakeup_fd(-1)
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)
        os.close(self.fd)
        os.close(self._write_end)


def _noted(number: int, frame: object) -> None:
    """The wakeup descriptor has it already; without a Python handler there would be no wake-up."""
