"""Who looks for work, who acknowledges meanwhile, and what a stop in between does; with stand-ins for the server."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

from jobd.worker.config import Capsule
from jobd.worker.fetcher import Fetcher
from jobd.worker.ledger import Fetched
from tests.waiting import wait_until

JOB = Fetched("1.1", "default", b"{}")


class StubLedger:
    """Hands out the jobs given and counts the acknowledgements asked for."""

    def __init__(self, *jobs: Fetched) -> None:
        self.jobs = list(jobs)
        self.flushed = 0
        self.given_back: list[Fetched] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def fetch(self, want: int, queues: Sequence[str]) -> list[Fetched]:
        assert (want, list(queues)) == (1, ["default"])
        self.meanwhile()
        return [self.jobs.pop()] if self.jobs else []

    def flush(self) -> None:
        self.flushed += 1

    def give_back(self, jobs: Sequence[Fetched]) -> int:
        self.given_back += jobs
        return len(jobs)


class StubBell:
    """Waits until the test rings."""

    def __init__(self) -> None:
        self.waiting, self.ring = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.waiting.set()
        assert self.ring.wait(10)

    def worked(self) -> None:
        return None


def make(ledger: Any, bell: Any) -> Fetcher:
    return Fetcher(Capsule(), ledger, bell, random.Random(1))


def next_in_thread(fetcher: Fetcher) -> threading.Thread:
    thread = threading.Thread(target=fetcher.next)
    thread.start()
    return thread


def test_a_job_is_handed_on() -> None:
    assert make(StubLedger(JOB), StubBell()).next() is JOB


def test_while_one_waits_for_work_another_acknowledges_by_itself() -> None:
    ledger, bell = StubLedger(), StubBell()
    fetcher = make(ledger, bell)
    threads = [next_in_thread(fetcher)]
    wait_until(bell.waiting.is_set, "the first to wait")
    before = ledger.flushed
    threads.append(next_in_thread(fetcher))
    wait_until(lambda: ledger.flushed == before + 1, "the second to acknowledge")
    fetcher.quiet()
    bell.ring.set()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_before_it_waits_it_acknowledges_for_all() -> None:
    ledger, bell = StubLedger(), StubBell()
    fetcher = make(ledger, bell)
    thread = next_in_thread(fetcher)
    wait_until(bell.waiting.is_set, "it to wait")
    assert ledger.flushed == 1
    fetcher.quiet()
    bell.ring.set()
    thread.join(5)
    assert not thread.is_alive()


def test_a_job_that_arrives_after_quiet_goes_straight_back() -> None:
    ledger = StubLedger(JOB)
    fetcher = make(ledger, StubBell())
    ledger.meanwhile = fetcher.quiet
    assert fetcher.next() is None
    assert ledger.given_back == [JOB]


def test_once_quiet_it_fetches_nothing_and_acknowledges_what_is_left() -> None:
    ledger = StubLedger(JOB)
    fetcher = make(ledger, StubBell())
    fetcher.quiet()
    assert fetcher.next() is None
    assert (ledger.jobs, ledger.flushed) == ([JOB], 1)
