"""How many jobs to fetch ahead: as many as threads will begin in the next two milliseconds, going by the last ones.

Time is passed in. What is fetched, and by whom, is up to the fetcher.
"""

from __future__ import annotations

AHEAD_SECONDS = 0.002
"""How long the jobs that are fetched ahead keep the threads busy."""
HALF_LIFE = 0.020
"""Seconds after which what was measured counts half."""
LONGEST = 0.020
"""Seconds that a job counts at most: one that took an hour says nothing about the others."""
_SHORTEST = 1e-6
_PAUSE = 0.2
"""Seconds of nothing to do that count at most."""


class Pace:
    """How fast the jobs of some threads are worked off, from what the threads have noted.

    They note without a lock, so that a job may be missed now and then: it is an estimate.
    """

    def __init__(self, threads: int, now: float) -> None:
        """`now` is monotonic seconds."""
        self.seconds, self.jobs = 0.0, 0
        """How long all jobs took, and how many they were: to be added to by the threads."""
        self.threads, self._at, self._known = threads, now, (0.0, 0)
        self._spent, self._ended, self._elapsed = 0.0, 0.0, 0.0

    @property
    def busy(self) -> float:
        """How many threads were running a job on average, whether it worked or waited for something."""
        return self._spent / self._elapsed if self._elapsed else 0.0

    def ahead(self, now: float) -> int:
        """How many jobs the threads will begin in the next two milliseconds; 0 as long as nothing was measured."""
        self._renew(now)
        if not (self._ended and self._elapsed):
            return 0
        return jobs_begun(self._spent / self._ended, self._ended / self._elapsed, self.threads)

    def restart(self, mean: float) -> None:
        """Forget what was measured, since jobs took longer than was foreseen, and take them to last `mean` seconds."""
        self._spent, self._ended, self._elapsed = mean, 1.0, mean

    def _renew(self, now: float) -> None:
        seconds, jobs = self.seconds, self.jobs
        spent, ended, elapsed = seconds - self._known[0], jobs - self._known[1], now - self._at
        self._known, self._at = (seconds, jobs), now
        if not ended:
            # A pause without any jobs says nothing about how long they take.
            self._elapsed = min(self._elapsed + elapsed, _PAUSE)
            return
        kept = 0.5 ** (elapsed / HALF_LIFE)
        self._spent = self._spent * kept + spent
        self._ended = self._ended * kept + ended
        self._elapsed = self._elapsed * kept + elapsed


def jobs_begun(mean: float, rate: float, threads: int) -> int:
    """How many jobs begin in two milliseconds when they last `mean` seconds and `rate` of them ended in a second.

    With too little to do the rate says nothing; one thread alone, and all of them, are the bounds.
    """
    mean = max(mean, _SHORTEST)
    return round(AHEAD_SECONDS * min(max(rate, 1 / mean), threads / mean))
