"""Who looks for work, who acknowledges meanwhile, and what a stop in between does; with stand-ins for the server."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

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
    fetcher.close()
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
    fetcher.close()
    bell.ring.set()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("way", ["quiet", "close"])
def test_a_job_that_arrives_after_quiet_or_close_goes_straight_back(way: str) -> None:
    ledger = StubLedger(JOB)
    fetcher = make(ledger, StubBell())
    ledger.meanwhile = getattr(fetcher, way)
    thread = next_in_thread(fetcher)
    wait_until(lambda: ledger.given_back == [JOB], "the job to go back")
    fetcher.close()
    thread.join(5)
    assert not thread.is_alive()


def test_once_closed_it_fetches_nothing_and_acknowledges_what_is_left() -> None:
    ledger = StubLedger(JOB)
    fetcher = make(ledger, StubBell())
    fetcher.close()
    assert fetcher.next() is None
    assert (ledger.jobs, ledger.flushed) == ([JOB], 1)


def test_while_quiet_it_fetches_nothing_and_acknowledges_what_is_left() -> None:
    ledger = StubLedger(JOB)
    fetcher = make(ledger, StubBell())
    fetcher.quiet()
    threads = [next_in_thread(fetcher) for _ in range(2)]
    wait_until(lambda: ledger.flushed == 2, "both to acknowledge")
    assert ledger.jobs == [JOB]
    assert all(thread.is_alive() for thread in threads)
    fetcher.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert ledger.jobs == [JOB]


def test_after_a_resume_those_who_waited_look_for_work_again() -> None:
    ledger = StubLedger()
    fetcher, found = make(ledger, StubBell()), list[Fetched | None]()
    fetcher.quiet()
    thread = threading.Thread(target=lambda: found.append(fetcher.next()))
    thread.start()
    wait_until(lambda: ledger.flushed == 1, "it to wait")
    ledger.jobs.append(JOB)
    fetcher.resume()
    thread.join(5)
    assert found == [JOB]


def test_a_rest_is_over_with_the_close() -> None:
    fetcher = make(StubLedger(), StubBell())
    thread = threading.Thread(target=fetcher.rest, args=(60,))
    thread.start()
    fetcher.close()
    thread.join(5)
    assert not thread.is_alive()
