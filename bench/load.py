"""How much of the machine somebody else had while something was measured."""

from __future__ import annotations

import contextlib
import time

import psutil

DISTURBED = 0.10
"""Share of the machine in the hands of others from which a measurement counts as disturbed."""


def busy() -> float:
    """CPU seconds of the whole machine since it was started, stolen ones included.

    Those of soft interrupts are in it, as they are in the account of the process that sends over the loopback.
    """
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def ours() -> float:
    """CPU seconds of this process and of all below it, those that have ended included."""
    seconds = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def share_of_others(used: float, used_by_us: float, seconds: float, cores: int) -> float:
    """The share of all cores that others had in so many seconds, from CPU seconds of all and of ours."""
    return max(0.0, used - used_by_us) / max(seconds * cores, 0.01)


class Watch:
    """Watches the machine from now on.

    The machine's account is sampled by its clock and ours is not, so the share is right to a few hundredths only.
    """

    def __init__(self) -> None:
        self._started, self._busy, self._ours = time.monotonic(), busy(), ours()

    def others(self) -> float:
        """The share of all cores that others have used since then, 0 to 1."""
        seconds = time.monotonic() - self._started
        return share_of_others(busy() - self._busy, ours() - self._ours, seconds, psutil.cpu_count() or 1)
