"""Gives the threads of one capsule their jobs. One of them at a time leads: it fetches for all, or waits for work.

Short jobs are fetched in batches, so that one call of Redis serves many of them: as many as take two milliseconds by
what the last ones took. Jobs of which none has been started ten milliseconds later go back to their queues, since
that estimate was wrong. Threads that have nothing to do are parked; whoever starts a job wakes at most one of them,
which takes the next job or leads, and wakes the next in its turn. So no job waits behind a slow one while a thread
has nothing to do, and jobs that are over at once do not wake everybody for nothing.

What a thread has finished is acknowledged by the next fetch, whoever makes it; only while the leader waits for work
does a thread acknowledge by itself. While the capsule is quiet, threads wait here.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence

from jobd.worker import log
from jobd.worker.config import Capsule
from jobd.worker.doorbell import Doorbell
from jobd.worker.ledger import Aborted, Fetched, Ledger
from jobd.worker.queue_order import draw

BATCH_SECONDS = 0.002
"""Measured work that a batch may hold."""
LEAST_BATCH = 16
"""Smaller ones are not worth a batch: their jobs are fetched as single ones."""
RETURN_AFTER = 0.010
"""Seconds after which jobs that no thread has started go back to their queues."""
ESTIMATE_AFTER_RETURN = 0.001
"""Seconds that a job is taken to last after some had to go back: too many for a batch."""


class Estimate:
    """How long jobs take, from what threads have noted since it was last asked."""

    def __init__(self, threads: int) -> None:
        self._seconds, self._jobs = [0.0] * threads, [0] * threads
        self._known = (0.0, 0)
        self.mean = 0.0
        """Seconds; 0 as long as nothing was measured."""

    def note(self, thread: int, seconds: float) -> None:
        """Note a job that ended. Each thread writes to a place of its own, so it needs no lock."""
        self._seconds[thread] += seconds
        self._jobs[thread] += 1

    def renew(self) -> float:
        """The mean by now. It rises at once, and falls by halves."""
        seconds, jobs = sum(self._seconds), sum(self._jobs)
        before, count = self._known
        self._known = (seconds, jobs)
        if jobs > count:
            self.mean = max((seconds - before) / (jobs - count), self.mean / 2)
        return self.mean


def batch_size(mean: float, idle: int, prefetch: int) -> int:
    """How many jobs to fetch as a batch, for `idle` threads and jobs of `mean` seconds; 0: fetch single ones."""
    if mean <= 0.0:
        return 0
    size = min(int(BATCH_SECONDS / mean), prefetch)
    return size if size > max(idle, LEAST_BATCH) else 0


class Fetcher:
    """The source of jobs of one capsule. Safe across threads.

    `threads` numbers all threads of the process; those of this capsule call it, each with its own number.
    """

    def __init__(
        self,
        capsule: Capsule,
        ledger: Ledger,
        doorbell: Doorbell,
        rng: random.Random,
        *,
        threads: int,
        prefetch: int,
        suspected: Callable[[Sequence[Fetched]], list[Fetched]],
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        """`prefetch` is the largest batch, 1 for none. `on_pause` is called at each fetch and about every 10 ms.

        `suspected` tells which of some jobs are suspected of crashes; it is asked only when Redis knows of any suspect.
        """
        self._capsule, self._ledger, self._doorbell, self._rng = capsule, ledger, doorbell, rng
        self._prefetch, self._suspected, self._on_pause = prefetch, suspected, on_pause
        self._ready: deque[Fetched] = deque()
        self._leader = threading.Lock()
        self._leader_waits = False
        self._gates = [_shut_gate() for _ in range(threads)]
        self._idle: list[threading.Lock] = []
        self._waking = False
        self._open, self._closed = True, threading.Event()
        self._careful = False
        self._estimate = Estimate(threads)
        self.ran = self._estimate.note
        """Called with the number of a thread and the seconds that its job took."""
        self._brought = 0
        self._attention = threading.Event()
        self._returner = threading.Thread(target=self._return_late, name=f"jobd-{capsule.name}-returns", daemon=True)

    def start(self) -> None:
        """Begin to look after jobs that no thread starts."""
        self._returner.start()

    def next(self, thread: int) -> Fetched | None:
        """Wait for a job; None once it is closed. Raises Aborted."""
        while True:
            if self._open and self._ready:
                job = self._take()
                if job is not None:
                    return job
            elif self._closed.is_set():
                self._ledger.flush()
                self._wake_one()
                return None
            elif self._open and self._leader.acquire(blocking=False):
                try:
                    self._lead()
                finally:
                    self._leader.release()
            else:
                self._park(self._gates[thread])

    def quiet(self) -> None:
        """Fetch nothing until `resume`. Whoever waits in the doorbell must be woken by the caller."""
        self._open = False
        self._attention.set()

    def resume(self) -> None:
        """Fetch again."""
        self._open = True
        self._wake_one()

    def close(self) -> None:
        """Fetch nothing more and let the threads end. Whoever waits in the doorbell must be woken by the caller."""
        self._closed.set()
        self._open = False
        self._attention.set()
        self._wake_one()

    def rest(self, seconds: float) -> None:
        """Wait, but not beyond `close`."""
        self._closed.wait(seconds)

    def _take(self) -> Fetched | None:
        try:
            job = self._ready.popleft()
        except IndexError:  # another thread was faster
            return None
        if not self._open:
            self._ledger.give_back([job])
            return None
        if self._idle and not self._waking:
            self._wake_one()
        return job

    def _lead(self) -> None:
        """Fetch once. If nothing came, wait until there may be something."""
        self._on_pause()
        idle = len(self._idle) + 1
        size = 0 if self._careful else batch_size(self._estimate.renew(), idle, self._prefetch)
        want = size or (1 if self._careful else idle)
        found = self._ledger.fetch(want, draw(self._capsule, want, self._rng), batch=size > 0)
        self._careful = False
        if found:
            self._doorbell.worked()
            self._admit(self._without_company(found) if found[0].suspects else found)
        else:
            self._wait()

    def _without_company(self, found: list[Fetched]) -> list[Fetched]:
        """If one of these may bring the process down, keep it alone: it shall not take others along."""
        suspected = self._suspected(found)
        for job in found:
            job.suspects = job in suspected
        if not suspected:
            return found
        self._careful = True
        self._ledger.give_back([job for job in found if job is not suspected[0]])
        return suspected[:1]

    def _admit(self, found: list[Fetched]) -> None:
        self._brought += 1
        self._ready.extend(found)
        if not self._attention.is_set():
            self._attention.set()

    def _wait(self) -> None:
        # Whoever finished before this is set is acknowledged here, whoever finishes after it does so by itself.
        self._leader_waits = True
        try:
            self._ledger.flush()
            if self._open:
                self._doorbell.wait()
        finally:
            self._leader_waits = False

    def _park(self, gate: threading.Lock) -> None:
        """Wait until woken. Looks once more after saying so, or a wake-up in between would be lost."""
        if self._leader_waits or not self._open:
            # Nobody fetches soon, and what is finished would wait for its acknowledgement.
            self._ledger.flush()
            self._on_pause()
        self._idle.append(gate)
        if self._may_go_on():
            try:
                self._idle.remove(gate)
            except ValueError:  # woken meanwhile
                gate.acquire()
                self._waking = False
            return
        gate.acquire()
        self._waking = False

    def _may_go_on(self) -> bool:
        return self._closed.is_set() or (self._open and (bool(self._ready) or not self._leader.locked()))

    def _wake_one(self) -> None:
        try:
            gate = self._idle.pop()
        except IndexError:
            return
        self._waking = True
        gate.release()

    def _return_late(self) -> None:
        """Every ten milliseconds while jobs come: give back what no thread has started since the last look."""
        while not self._closed.is_set():
            self._attention.wait()
            self._attention.clear()
            seen = self._brought
            if self._open:
                self._closed.wait(RETURN_AFTER)
            try:
                self._on_pause()
                self._return(seen)
            except Aborted:
                return
            except Exception as error:
                log.event("component.failed", level=log.ERROR, component=self._returner.name, exc_info=error)
                self._closed.wait(1.0)

    def _return(self, seen: int) -> None:
        if not self._ready:
            return
        if self._open and self._brought != seen:
            self._attention.set()
            return
        late = _drained(self._ready)
        if late:
            self._ledger.give_back(late)
            self._estimate.mean = max(self._estimate.mean, ESTIMATE_AFTER_RETURN)
            self._wake_one()


def _shut_gate() -> threading.Lock:
    gate = threading.Lock()
    gate.acquire()
    return gate


def _drained(jobs: deque[Fetched]) -> list[Fetched]:
    """All that are left, taken one by one: threads take from it at the same time."""
    found: list[Fetched] = []
    while True:
        try:
            found.append(jobs.popleft())
        except IndexError:
            return found
