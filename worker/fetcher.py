"""Gives the threads of one capsule their jobs. One of them at a time leads: it fetches for all, or waits for work.

Each fetch also takes what threads will begin within two milliseconds, by the pace of the last jobs: of short ones a
batch, so that one call of Redis serves many. Threads that have nothing to do are parked; whoever starts a job wakes at
most one of them, which takes the next job or leads, and wakes the next in its turn. So no job waits behind a slow one
while a thread has nothing to do, and jobs that are over at once do not wake everybody for nothing.

While most threads are busy, none of them should wait for a fetch before its next job: a steward fetches when few are
left. Jobs that no thread has started ten milliseconds after the last fetch it gives back, since the pace was wrong.

A thread that is dismissed ends when it has nothing to do, or after its job, and wakes another one in its place.

What a thread has finished is acknowledged by the next fetch, whoever makes it; only while the leader waits for work
does a thread acknowledge by itself. While the capsule is quiet, threads wait here.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from jobd.worker.config import Capsule
from jobd.worker.doorbell import Doorbell
from jobd.worker.ledger import Aborted, Fetched, Ledger
from jobd.worker.on_error import component_failed
from jobd.worker.pace import LONGEST, Pace
from jobd.worker.queue_order import draw

LEAST_BATCH = 16
"""Smaller ones are not worth a batch: their jobs are fetched as single ones."""
BUSY = 2.0
"""Threads that must run jobs on average for somebody to fetch ahead of them: fewer hardly ever wait for a fetch."""
RETURN_AFTER = 0.010
"""Seconds after which jobs that no thread has started go back to their queues."""


class Fetcher:
    """The source of jobs of one capsule. Safe across threads.

    `threads` is how many numbers the threads of the process may have; those of this capsule call it, each with its own.
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
        """`prefetch` is the most that is fetched at once, unless more threads have nothing to do; 1 for nothing ahead.

        `on_pause` is called at each fetch and about every 10 ms.

        `suspected` tells which of some jobs are suspected of crashes; it is asked only when Redis knows of any suspect.
        """
        self._capsule, self._ledger, self._doorbell, self._rng = capsule, ledger, doorbell, rng
        self._prefetch, self._suspected, self._on_pause = prefetch, suspected, on_pause
        self._ready: deque[Fetched] = deque()
        self._leader = threading.Lock()
        self._leader_waits = False
        self._gates = [_shut_gate() for _ in range(threads)]
        self._idle: list[threading.Lock] = []
        self._leaving, self._leaving_lock = set[int](), threading.Lock()
        self._waking = False
        self._open, self._closed = True, threading.Event()
        self._careful = self._exhausted = False
        self._pace = Pace(capsule.concurrency, monotonic())
        self._brought = 0
        self._low, self._called, self._resting = 0, False, True
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._steward = threading.Thread(target=self._attend, name=f"jobd-{capsule.name}-steward", daemon=True)

    def start(self) -> None:
        """Begin to look after jobs that no thread starts."""
        self._steward.start()

    def next(self, thread: int, ran: float | None) -> Fetched | None:
        """Wait for a job; None once it is closed. `ran`: seconds that the thread's last one took. Raises Aborted."""
        if ran is not None:
            self._pace.seconds += ran if ran < LONGEST else LONGEST
            self._pace.jobs += 1
        while True:
            try:
                job = self._ready.popleft()
            except IndexError:
                if self._look_for_work(thread):
                    continue
                return None
            if not job.held:  # it was recovered, and is another's now
                continue
            if self._open:
                if self._idle and not self._waking:
                    self._wake_one()
                if len(self._ready) < self._low and not self._called:
                    self._called = True
                    self._calls.put(None)
                return job
            self._ledger.give_back([job])

    def last(self, thread: int, ran: float | None) -> Fetched | None:
        """Instead of `next`, for a thread that was dismissed: None, unless that was taken back meanwhile."""
        self._ledger.flush()
        return None if self._has_left(thread) else self.next(thread, ran)

    def dismiss(self, thread: int) -> None:
        """Have a thread that looks for work end, within the time for which the doorbell waits."""
        self._leaving.add(thread)
        gate = self._gates[thread]
        with contextlib.suppress(ValueError):  # it works, leads, or was woken
            self._idle.remove(gate)
            gate.release()

    def keep(self, thread: int) -> bool:
        """Take a dismissal back. False: the thread has ended, or is about to."""
        with self._leaving_lock:
            found = thread in self._leaving
            self._leaving.discard(thread)
        return found

    def resize(self, threads: int) -> None:
        """Fetch for so many threads."""
        self._pace.threads = threads

    def quiet(self) -> None:
        """Fetch nothing until `resume`. Whoever waits in the doorbell must be woken by the caller."""
        self._open = False
        self._calls.put(None)

    def resume(self) -> None:
        """Fetch again."""
        self._open = True
        self._wake_one()

    def close(self) -> None:
        """Fetch nothing more and let the threads end. Whoever waits in the doorbell must be woken by the caller."""
        self._closed.set()
        self._open = False
        self._calls.put(None)
        self._wake_one()

    def rest(self, seconds: float) -> None:
        """Wait, but not beyond `close`."""
        self._closed.wait(seconds)

    def _look_for_work(self, thread: int) -> bool:
        """Lead if nobody does, else be parked; False once it is closed."""
        if self._closed.is_set():
            self._ledger.flush()
            self._wake_one()
            return False
        if thread in self._leaving:
            self._ledger.flush()  # which may fail, and then it is still there
            if self._has_left(thread):
                return False
        if self._open and self._leader.acquire(blocking=False):
            try:
                self._lead()
            finally:
                self._leader.release()
        else:
            self._park(thread)
        return True

    def _has_left(self, thread: int) -> bool:
        """Let a thread go that was dismissed, with nothing unfinished; another one takes its place."""
        left = self.keep(thread)
        if left:
            self._wake_one()
        return left

    def _lead(self) -> None:
        """Fetch once. If nothing came, wait until there may be something."""
        self._on_pause()
        exhausted, self._exhausted = self._exhausted, False
        # Little to do, and the last fetch emptied the queues: the doorbell looks at them for less than a fetch costs.
        if (exhausted and self._doorbell.looks) or not self._bring(len(self._idle) + 1):
            self._wait()

    def _bring(self, idle: int) -> bool:
        """Fetch for so many threads that have nothing to do, and ahead; False when nothing came."""
        ahead = min(self._pace.ahead(monotonic()), self._prefetch - 1)
        want = 1 if self._careful else max(idle, min(idle + ahead - len(self._ready), self._prefetch))
        if want == 0:
            return True
        found = self._ledger.fetch(want, draw(self._capsule, want, self._rng), batch=min(ahead, want) >= LEAST_BATCH)
        self._careful = False
        if not found:
            self._low = 0
            return False
        self._exhausted = ahead == 0 and len(found) < want
        self._low = min(ahead, LEAST_BATCH) if self._pace.busy > BUSY else 0
        self._doorbell.worked()
        self._admit(self._without_company(found) if found[0].suspects else found)
        return True

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
        if self._resting:
            self._calls.put(None)

    def _wait(self) -> None:
        # Whoever finished before this is set is acknowledged here, whoever finishes after it does so by itself.
        self._leader_waits = True
        try:
            self._ledger.flush()
            self._on_pause()
            if self._open:
                self._doorbell.wait()
        finally:
            self._leader_waits = False

    def _park(self, thread: int) -> None:
        """Wait until woken. Looks once more after saying so, or a wake-up in between would be lost."""
        if self._leader_waits or not self._open:
            # Nobody fetches soon, and what is finished would wait for its acknowledgement.
            self._ledger.flush()
            self._on_pause()
        gate = self._gates[thread]
        self._idle.append(gate)
        if self._may_go_on() or thread in self._leaving:
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

    def _attend(self) -> None:
        """Fetch ahead when called, and give back what no thread has started for ten milliseconds."""
        seen = 0
        while not self._closed.is_set():
            try:
                self._on_pause()
                brought, called = self._brought, self._wait_for_call(seen)
                if called:
                    self._fetch_ahead()
                elif self._brought == brought:
                    self._return()
                seen = brought
            except Aborted:
                return
            except Exception as error:
                component_failed(self._steward.name, error)
                self._closed.wait(1.0)
        with contextlib.suppress(Aborted):
            self._return()  # of a fetch that was under way

    def _wait_for_call(self, seen: int) -> bool:
        """Wait to be called; False when that did not happen within ten milliseconds.

        With no fetch since the `seen`th, and no jobs left to look after, it waits for the next one.
        """
        self._resting = True  # before it looks, or jobs that come in between would be nobody's
        self._resting = self._brought == seen and not self._ready
        try:
            self._calls.get(timeout=None if self._resting else RETURN_AFTER)
        except queue.Empty:
            return False
        finally:
            self._resting = False
        return True

    def _fetch_ahead(self) -> None:
        self._called = False
        if not self._open:
            self._return()
        elif len(self._ready) < self._low and self._leader.acquire(blocking=False):
            try:
                self._bring(0)
            finally:
                self._leader.release()
                # Whoever wanted to lead meanwhile was parked.
                self._wake_one()

    def _return(self) -> None:
        late = _drained(self._ready)
        if late:
            self._ledger.give_back(late)
            self._pace.restart(RETURN_AFTER)
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
