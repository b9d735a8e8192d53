"""Who looks for work, how much is fetched, who is woken, who acknowledges meanwhile, and what goes back.

With stand-ins for the server; the ways in which threads can meet are tried out by many threads at once.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest

from jobd.worker.config import Capsule
from jobd.worker.fetcher import LEAST_BATCH, Fetcher
from jobd.worker.ledger import Fetched
from tests.waiting import wait_until

_numbers = count(1)


def a_job(*, suspects: bool = False) -> Fetched:
    return Fetched(next(_numbers), 1, "default", b"{}", suspects)


class StubLedger:
    """Hands out the jobs given, and notes what is asked of it."""

    def __init__(self, *jobs: Fetched) -> None:
        self.jobs = list(jobs)
        self.fetches: list[tuple[int, bool]] = []
        self.flushed = 0
        self.given_back: list[Fetched] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def fetch(self, want: int, queues: Sequence[tuple[str, int]], *, batch: bool = False) -> list[Fetched]:
        assert list(queues) == [("default", want)]
        self.fetches.append((want, batch))
        self.meanwhile()
        found, self.jobs = self.jobs[:want], self.jobs[want:]
        return found

    def flush(self) -> None:
        self.flushed += 1

    def give_back(self, jobs: Sequence[Fetched]) -> int:
        self.given_back += jobs
        return len(jobs)


class StubBell:
    """Waits until the test rings."""

    def __init__(self) -> None:
        self.waiting, self.ring = threading.Event(), threading.Event()
        self.looks = True

    def wait(self) -> None:
        self.waiting.set()
        assert self.ring.wait(10)

    def worked(self) -> None:
        return None


def make(
    ledger: Any, bell: Any = None, *, threads: int = 4, prefetch: int = 200, suspected: Sequence[Fetched] = ()
) -> Fetcher:
    return Fetcher(
        Capsule(),
        ledger,
        bell or StubBell(),
        random.Random(1),
        threads=threads,
        prefetch=prefetch,
        suspected=lambda jobs: [job for job in jobs if job in suspected],
    )


def next_in_thread(fetcher: Fetcher, thread: int = 0, found: list[Fetched | None] | None = None) -> threading.Thread:
    def run() -> None:
        job = fetcher.next(thread, None)
        if found is not None:
            found.append(job)

    started = threading.Thread(target=run)
    started.start()
    return started


def ended(*threads: threading.Thread) -> bool:
    for thread in threads:
        thread.join(5)
    return not any(thread.is_alive() for thread in threads)


class TestSize:
    def test_single_jobs_are_fetched_for_all_that_have_nothing_to_do(self) -> None:
        ledger, bell = StubLedger(), StubBell()
        fetcher, found = make(ledger, bell), list[Fetched | None]()
        threads = [next_in_thread(fetcher, number, found) for number in range(4)]
        wait_until(lambda: bell.waiting.is_set() and len(fetcher._idle) == 3, "one to wait and three to be parked")
        ledger.jobs += [a_job() for _ in range(4)]
        bell.ring.set()
        assert ended(*threads)
        assert len({id(job) for job in found}) == 4
        assert ledger.fetches[-1] == (4, False)

    def test_short_jobs_are_fetched_in_a_batch(self) -> None:
        ledger = StubLedger(*[a_job() for _ in range(150)])
        fetcher = make(ledger)
        fetcher.next(0, None)
        taken = [fetcher.next(0, 20e-6) for _ in range(100)]
        assert ledger.fetches == [(1, False), (101, True)]
        assert len({id(job) for job in taken}) == 100


class TestAhead:
    """Ten threads with jobs of ten milliseconds: two of them end within two milliseconds."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        now = [100.0]
        monkeypatch.setattr("jobd.worker.fetcher.monotonic", lambda: now[0])
        monkeypatch.setattr("jobd.worker.fetcher.RETURN_AFTER", 60)
        return now

    def started(self, ledger: StubLedger, clock: list[float], *, busy: int, prefetch: int = 200) -> Fetcher:
        """One whose threads have ended a job each, and which has fetched once since."""
        fetcher = make(ledger, threads=10, prefetch=prefetch)
        fetcher.start()
        fetcher.next(0, None)
        clock[0] += 0.01
        fetcher._pace.seconds += 0.01 * (busy - 1)
        fetcher._pace.jobs += busy - 1
        fetcher.next(0, 0.01)
        return fetcher

    def test_while_threads_are_busy_somebody_else_fetches_for_them(self, clock: list[float]) -> None:
        ledger = StubLedger(*[a_job() for _ in range(20)])
        fetcher = self.started(ledger, clock, busy=10)
        assert ledger.fetches == [(1, False), (3, False)]
        fetcher.next(1, 0.01)
        wait_until(lambda: len(fetcher._ready) == 2, "what was taken to be there again")
        assert ledger.fetches[2:] == [(1, False)]
        fetcher.close()

    def test_few_busy_threads_fetch_for_themselves(self, clock: list[float]) -> None:
        ledger = StubLedger(*[a_job() for _ in range(20)])
        fetcher = self.started(ledger, clock, busy=2)
        for _ in range(5):
            fetcher.next(0, None)
        assert {want for want, _ in ledger.fetches} == {1}
        assert fetcher._low == 0
        fetcher.close()

    def test_without_prefetch_nobody_does(self, clock: list[float]) -> None:
        ledger = StubLedger(*[a_job() for _ in range(20)])
        fetcher = self.started(ledger, clock, busy=10, prefetch=1)
        for _ in range(5):
            fetcher.next(0, None)
        assert set(ledger.fetches) == {(1, False)}
        fetcher.close()

    def test_an_empty_queue_is_left_to_those_who_have_nothing_to_do(self, clock: list[float]) -> None:
        ledger, bell = StubLedger(*[a_job() for _ in range(4)]), StubBell()
        fetcher = make(ledger, bell)
        fetcher._pace.restart(0.0005)
        fetcher._low = LEAST_BATCH
        fetcher._ready.extend([a_job(), a_job()])
        fetcher.start()
        ledger.jobs.clear()
        fetcher.next(0, None)
        wait_until(lambda: fetcher._low == 0, "the empty queue to be noticed")
        assert not bell.waiting.is_set()
        fetcher.next(0, None)
        fetches = len(ledger.fetches)
        thread = next_in_thread(fetcher)
        wait_until(bell.waiting.is_set, "a thread to wait for work")
        assert len(ledger.fetches) == fetches + 1
        fetcher.close()
        bell.ring.set()
        assert ended(thread)


class TestWaiting:
    def test_while_one_waits_for_work_another_acknowledges_by_itself(self) -> None:
        ledger, bell = StubLedger(), StubBell()
        fetcher = make(ledger, bell)
        threads = [next_in_thread(fetcher)]
        wait_until(bell.waiting.is_set, "the first to wait")
        before = ledger.flushed
        threads.append(next_in_thread(fetcher, 1))
        wait_until(lambda: ledger.flushed == before + 1, "the second to acknowledge")
        fetcher.close()
        bell.ring.set()
        assert ended(*threads)

    def test_before_it_waits_it_acknowledges_for_all(self) -> None:
        ledger, bell = StubLedger(), StubBell()
        fetcher = make(ledger, bell)
        thread = next_in_thread(fetcher)
        wait_until(bell.waiting.is_set, "it to wait")
        assert ledger.flushed == 1
        fetcher.close()
        bell.ring.set()
        assert ended(thread)

    @pytest.mark.parametrize(("looks", "fetches"), [(True, 1), (False, 2)])
    def test_after_the_last_job_of_the_queues_it_waits_without_another_fetch_if_the_bell_looks(
        self, looks: bool, fetches: int
    ) -> None:
        ledger, bell = StubLedger(), StubBell()
        bell.looks = looks
        fetcher, found = make(ledger, bell), list[Fetched | None]()
        threads = [next_in_thread(fetcher, number, found) for number in range(2)]
        wait_until(lambda: bell.waiting.is_set() and len(fetcher._idle) == 1, "one to wait and one to be parked")
        ledger.jobs.append(a_job())
        ledger.fetches.clear()
        ledger.meanwhile = bell.ring.clear
        bell.waiting.clear()
        bell.ring.set()
        wait_until(lambda: len(found) == 1 and bell.waiting.is_set(), "the job taken, and the other thread to wait")
        assert len(ledger.fetches) == fetches
        fetcher.close()
        bell.ring.set()
        assert ended(*threads)

    def test_no_job_waits_behind_a_slow_one_while_a_thread_has_nothing_to_do(self) -> None:
        ledger, bell = StubLedger(), StubBell()
        fetcher, found = make(ledger, bell), list[Fetched | None]()
        threads = [next_in_thread(fetcher, number, found) for number in range(3)]
        wait_until(lambda: bell.waiting.is_set() and len(fetcher._idle) == 2, "two to be parked")
        ledger.jobs += [a_job(), a_job()]
        bell.ring.set()
        # None of them comes back for a second one, as if their jobs took for ever.
        wait_until(lambda: len(found) == 2, "two jobs to be started")
        fetcher.close()
        assert ended(*threads)


class TestReturns:
    def test_jobs_that_no_thread_starts_go_back_and_the_next_ones_are_single(self) -> None:
        jobs = [a_job() for _ in range(100)]
        ledger = StubLedger(a_job(), *jobs)
        fetcher = make(ledger)
        fetcher.start()
        fetcher.next(0, None)
        assert fetcher.next(0, 20e-6) is jobs[0]
        wait_until(lambda: ledger.given_back == jobs[1:], "all but the one that runs to go back")
        ledger.jobs.append(a_job())
        fetcher.next(1, None)
        assert ledger.fetches[-1] == (1, False)
        fetcher.close()

    @pytest.mark.parametrize("way", ["quiet", "close"])
    def test_a_job_that_arrives_after_quiet_or_close_goes_straight_back(self, way: str) -> None:
        job = a_job()
        ledger = StubLedger(job)
        fetcher = make(ledger)
        fetcher.start()
        ledger.meanwhile = getattr(fetcher, way)
        thread = next_in_thread(fetcher)
        if way == "quiet":
            wait_until(lambda: ledger.given_back == [job], "the job to go back")
        fetcher.close()
        assert ended(thread)

    def test_what_was_fetched_and_not_started_goes_back_on_quiet(self) -> None:
        jobs = [a_job() for _ in range(3)]
        ledger, bell = StubLedger(), StubBell()
        fetcher = make(ledger, bell)
        fetcher._ready.extend(jobs)
        fetcher.start()
        fetcher.quiet()
        wait_until(lambda: ledger.given_back == jobs, "all to go back")
        fetcher.close()

    def test_a_job_under_suspicion_is_kept_alone_and_fetched_alone(self) -> None:
        jobs = [a_job(suspects=True) for _ in range(30)]
        suspect = jobs[7]
        ledger = StubLedger(a_job(), *jobs)
        fetcher = make(ledger, suspected=[suspect])
        fetcher.next(0, None)
        assert fetcher.next(0, 1e-6) is suspect
        assert suspect.suspects
        assert ledger.given_back == [job for job in jobs if job is not suspect]
        ledger.jobs = [a_job() for _ in range(300)]
        fetcher.next(0, None)
        fetcher.next(0, None)
        assert ledger.fetches[-2:] == [(1, False), (200, True)]

    def test_suspects_that_are_elsewhere_change_nothing_about_a_batch(self) -> None:
        jobs = [a_job(suspects=True) for _ in range(30)]
        ledger = StubLedger(a_job(), *jobs)
        fetcher = make(ledger)
        fetcher.next(0, None)
        assert [fetcher.next(0, 1e-6) for _ in range(30)] == jobs
        assert ledger.given_back == []
        assert not any(job.suspects for job in jobs)

    def test_what_the_steward_fetches_after_the_close_goes_back_at_once(self) -> None:
        jobs = [a_job() for _ in range(3)]
        ledger = StubLedger(*jobs)
        fetcher = make(ledger)
        fetcher._pace.restart(0.0005)
        fetcher._low = LEAST_BATCH
        fetcher._ready.append(first := a_job())
        ledger.meanwhile = fetcher.close
        fetcher.start()
        assert fetcher.next(0, None) is first
        wait_until(lambda: ledger.given_back == jobs, "all that came to go back")

    def test_jobs_that_were_recovered_meanwhile_are_not_started(self) -> None:
        lost, mine = a_job(), a_job()
        fetcher = make(StubLedger())
        fetcher._ready.extend([lost, mine])
        lost.held = False
        assert fetcher.next(0, None) is mine

    def test_a_fetch_ahead_that_fails_wakes_who_wanted_to_fetch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ledger, bell = StubLedger(), StubBell()
        fetcher = make(ledger, bell)
        fetcher._low = LEAST_BATCH
        parked = list[threading.Thread]()

        def fail() -> None:
            ledger.meanwhile = lambda: None
            parked.append(next_in_thread(fetcher, 1))
            wait_until(lambda: len(fetcher._idle) == 1, "a thread to be parked")
            raise RuntimeError("odd")

        ledger.meanwhile = fail
        monkeypatch.setattr("jobd.worker.fetcher.Pace.ahead", lambda self, now: 1)
        fetcher.start()
        fetcher._calls.put(None)
        wait_until(bell.waiting.is_set, "that thread to lead")
        fetcher.close()
        bell.ring.set()
        assert ended(*parked)


class TestQuiet:
    def test_once_closed_it_fetches_nothing_and_acknowledges_what_is_left(self) -> None:
        job = a_job()
        ledger = StubLedger(job)
        fetcher = make(ledger)
        fetcher.close()
        assert fetcher.next(0, None) is None
        assert (ledger.jobs, ledger.flushed) == ([job], 1)

    def test_while_quiet_it_fetches_nothing_and_acknowledges_what_is_left(self) -> None:
        job = a_job()
        ledger = StubLedger(job)
        fetcher = make(ledger)
        fetcher.quiet()
        threads = [next_in_thread(fetcher, number) for number in range(2)]
        wait_until(lambda: ledger.flushed == 2, "both to acknowledge")
        assert ledger.jobs == [job]
        assert all(thread.is_alive() for thread in threads)
        fetcher.close()
        assert ended(*threads)
        assert ledger.jobs == [job]

    def test_after_a_resume_those_who_waited_look_for_work_again(self) -> None:
        ledger, job = StubLedger(), a_job()
        fetcher, found = make(ledger), list[Fetched | None]()
        fetcher.quiet()
        thread = next_in_thread(fetcher, 0, found)
        wait_until(lambda: len(fetcher._idle) == 1, "it to be parked")
        ledger.jobs.append(job)
        fetcher.resume()
        assert ended(thread)
        assert found == [job]

    def test_a_rest_is_over_with_the_close(self) -> None:
        fetcher = make(StubLedger())
        thread = threading.Thread(target=fetcher.rest, args=(60,))
        thread.start()
        fetcher.close()
        assert ended(thread)


class Feed:
    """A ledger that many threads ask at once: gives each job out once, and takes back what is given back."""

    def __init__(self, jobs: int) -> None:
        self._lock = threading.Lock()
        self.queue = [Fetched(number, 1, "default", b"{}", False) for number in range(jobs)]
        self.leaders = 0

    def fetch(self, want: int, queues: Sequence[tuple[str, int]], *, batch: bool = False) -> list[Fetched]:
        with self._lock:
            self.leaders += 1
            assert self.leaders == 1, "two threads lead at once"
            found, self.queue = self.queue[:want], self.queue[want:]
            self.leaders -= 1
            return found

    def flush(self) -> None:
        return None

    def give_back(self, jobs: Sequence[Fetched]) -> int:
        with self._lock:
            self.queue = [*jobs, *self.queue]
        return len(jobs)


class BriefBell:
    """Rings soon."""

    looks = True

    def wait(self) -> None:
        threading.Event().wait(0.001)

    def worked(self) -> None:
        return None


@pytest.mark.parametrize("seed", range(4))
def test_however_threads_meet_each_job_is_run_once_and_none_is_forgotten(seed: int) -> None:
    jobs, threads = 3_000, 8
    feed, rng = Feed(jobs), random.Random(seed)
    fetcher = make(feed, BriefBell(), threads=threads)
    fetcher.start()
    ran: Counter[int] = Counter()
    lock = threading.Lock()

    def work(thread: int) -> None:
        took: float | None = None
        while (job := fetcher.next(thread, took)) is not None:
            seconds = rng.choice([0.0, 0.0, 0.0, 0.0, 0.0005, 0.02]) if rng.random() < 0.05 else 0.0
            began = time.perf_counter()
            threading.Event().wait(seconds) if seconds else None
            with lock:
                ran[job.call] += 1
            took = time.perf_counter() - began

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for _ in range(10):
        fetcher.quiet()
        fetcher.resume()
    wait_until(lambda: sum(ran.values()) >= jobs, "all jobs to be run", 20)
    fetcher.close()
    assert ended(*workers)
    assert ran == Counter(range(jobs))
