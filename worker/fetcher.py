"""Gives threads their next jobs. One thread at a time looks for work, the others wait for their turn.

What a thread has finished is acknowledged by the next fetch, whoever makes it; only while the one whose turn it is
waits for work does the thread acknowledge by itself. While the capsule is quiet, threads wait here.
"""

from __future__ import annotations

import random
import threading

from jobd.worker.config import Capsule
from jobd.worker.doorbell import Doorbell
from jobd.worker.ledger import Fetched, Ledger
from jobd.worker.queue_order import order_of


class Fetcher:
    """The source of jobs of one capsule. Safe across threads."""

    def __init__(self, capsule: Capsule, ledger: Ledger, doorbell: Doorbell, rng: random.Random) -> None:
        self._capsule, self._ledger, self._doorbell, self._rng = capsule, ledger, doorbell, rng
        self._turn = threading.Lock()
        self._open, self._closed = threading.Event(), threading.Event()
        self._open.set()
        self._waiting = threading.Event()

    def next(self) -> Fetched | None:
        """Wait for a job; None once it is closed. Raises Aborted."""
        while True:
            job = self._take()
            if job is not None:
                return job
            # Nobody fetches any more: what is finished would wait for its acknowledgement as long as the quiet lasts.
            self._ledger.flush()
            if self._closed.is_set():
                return None
            self._open.wait()

    def quiet(self) -> None:
        """Fetch nothing until `resume`. Whoever waits in the doorbell must be woken by the caller."""
        self._open.clear()

    def resume(self) -> None:
        """Fetch again."""
        self._open.set()

    def close(self) -> None:
        """Fetch nothing more and let the threads end. Whoever waits in the doorbell must be woken by the caller."""
        self._closed.set()
        self._open.set()

    def rest(self, seconds: float) -> None:
        """Wait, but not beyond `close`."""
        self._closed.wait(seconds)

    @property
    def _takes_jobs(self) -> bool:
        return self._open.is_set() and not self._closed.is_set()

    def _take(self) -> Fetched | None:
        """A job as soon as there is one; None when quiet or closed."""
        if not self._turn.acquire(blocking=False):
            if self._waiting.is_set():
                self._ledger.flush()
            self._turn.acquire()
        try:
            while self._takes_jobs:
                found = self._ledger.fetch(1, order_of(self._capsule, self._rng))
                if found:
                    self._doorbell.worked()
                    return self._keep_unless_quiet(found[0])
                self._wait()
        finally:
            self._turn.release()
        return None

    def _wait(self) -> None:
        # Whoever finished before this is set is acknowledged here, whoever finishes after it does so by itself.
        self._waiting.set()
        try:
            self._ledger.flush()
            self._doorbell.wait()
        finally:
            self._waiting.clear()

    def _keep_unless_quiet(self, job: Fetched) -> Fetched | None:
        if self._takes_jobs:
            return job
        self._ledger.give_back([job])
        return None
