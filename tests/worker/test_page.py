"""The page that a process shares with its master: what is told on one side is read on the other, whatever happens."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.worker.page import BUCKETS, JID_BYTES, LABEL_BYTES, LABEL_SETS, QUEUES, RESULTS, JobCounts, Page
from tests.waiting import wait_until

JID = "0ed6022fbd4af2e586ac10c8"


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page(3)
    yield made
    made.close()


@contextmanager
def child(act: Callable[[], object]) -> Iterator[int]:
    """Run `act` in a forked process, which is killed at the end of the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other tests may have left threads; this child needs none
        pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def jids(page: Page) -> list[str]:
    return [running.jid for running in page.running()]


def test_a_new_page_says_never_and_nothing(page: Page) -> None:
    assert (page.pulse, page.redis_seen, page.jobs_done, page.is_quiet) == (0.0, 0.0, 0, False)
    assert (page.running(), page.jobs(), page.waits()) == ([], {}, {})


def test_what_the_child_tells_the_parent_reads(page: Page) -> None:
    def tell() -> None:
        page.beat(12.5)
        page.saw_redis(11.25)
        page.set_quiet(True)
        page.seat(1).begin(JID, 10.75)
        page.count("mail", "app.send", "ok", 0.2, 3.0)

    with child(tell) as pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert (page.pulse, page.redis_seen, page.jobs_done, page.is_quiet) == (12.5, 11.25, 1, True)
    assert [(running.jid, running.since) for running in page.running()] == [(JID, 10.75)]
    assert page.jobs()["mail", "app.send"].results["ok"] == 1
    assert page.waits()["mail"].seconds == 3.0


def test_after_a_kill_at_any_moment_it_is_read_as_if_nothing_had_happened() -> None:
    names = ["a" * 24, "é" * 30, "c"]

    def work(page: Page) -> None:
        for number in itertools.count():
            page.seat(0).begin(names[number % 3], float(number))
            page.count("q" * (number % 150 + 1), "j", "ok", 0.1, 0.1)
            page.seat(0).end()

    for _ in range(20):
        page = Page(1)
        with child(functools.partial(work, page)):
            wait_until(lambda page=page: page.jobs_done, "it at work")  # type: ignore[misc]  # mypy infers none with a default
        assert set(jids(page)) <= set(names)
        assert all(set(queue) == {"q"} or queue == "other" for queue, _ in page.jobs())
        assert abs(total(page) - page.jobs_done) <= 1
        page.close()


def at_each_step(act: Callable[[], object], look: Callable[[], None]) -> None:
    """Run `act` and `look` before each of its lines: what is there then is what a kill would leave."""

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        look()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)


def test_at_no_step_is_a_jid_there_that_is_not_whole(page: Page) -> None:
    page.seat(0).begin("a" * 60, 1.0)
    seen: set[tuple[str, float]] = set()

    def look() -> None:
        seen.update((running.jid, running.since) for running in page.running())

    def act() -> None:
        page.seat(0).end()
        page.seat(0).begin("b" * 50, 2.0)

    at_each_step(act, look)
    look()
    assert seen == {("a" * 60, 1.0), ("b" * 50, 2.0)}


def test_at_no_step_is_a_row_there_that_is_not_whole(page: Page) -> None:
    seen: set[tuple[str, str]] = set()
    at_each_step(lambda: page.count("mail", "app.send", "ok", 1.0, 1.0), lambda: seen.update(page.jobs()))
    assert seen == {("mail", "app.send")}


def test_a_reader_never_sees_half_a_jid(page: Page) -> None:
    names = ["a" * 40, "b" * 10]

    def work() -> None:
        while True:
            for name in names:
                page.seat(0).begin(name, 1.0)
                page.seat(0).end()

    with child(work):
        wait_until(lambda: jids(page), "it at work")
        seen = {jid for _ in range(20_000) for jid in jids(page)}
    assert seen <= set(names)


def test_each_thread_has_a_place_of_its_own(page: Page) -> None:
    for thread in range(3):
        page.seat(thread).begin(f"jid-{thread}", float(thread))
    page.seat(1).end()
    assert [(running.jid, running.since) for running in page.running()] == [("jid-0", 0.0), ("jid-2", 2.0)]


@pytest.mark.parametrize(
    ("jid", "noted"),
    [
        ("x" * JID_BYTES, "x" * JID_BYTES),
        ("x" * 65, "x" * JID_BYTES),
        ("x" * 63 + "é", "x" * 63),
        ("\ud800", "?"),
    ],
)
def test_a_jid_that_does_not_fit_is_noted_cut(jid: str, noted: str, page: Page) -> None:
    page.seat(0).begin(jid, 1.0)
    assert jids(page) == [noted]


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (-1.0, 0), (0.005, 0), (0.0051, 1), (3600.0, 15), (3601.0, 16)]
)
def test_a_value_is_in_the_first_bucket_that_holds_it(seconds: float, bucket: int, page: Page) -> None:
    page.count("default", "j", "ok", seconds, None)
    durations = page.jobs()["default", "j"].durations
    assert len(durations.counts) == len(BUCKETS) + 1
    assert durations.counts[bucket] == sum(durations.counts) == 1
    assert durations.seconds == max(seconds, 0.0)


@given(results=st.lists(st.sampled_from(RESULTS)))
def test_every_result_is_counted_and_attempts_alone_are_done_and_timed(results: list[Any]) -> None:
    page = Page(1)
    page.know("default", "j")
    for result in results:
        page.count("default", "j", result, 1.0, None)
    counts, attempts = page.jobs()["default", "j"], len([each for each in results if each != "requeued"])
    page_done = page.jobs_done
    page.close()
    assert counts.results == {result: results.count(result) for result in RESULTS}
    assert (page_done, sum(counts.durations.counts), counts.durations.seconds) == (attempts, attempts, attempts)


NOTES = st.tuples(
    st.sampled_from(["low", "high"]),
    st.sampled_from(["a", "b", "other"]),
    st.sampled_from(RESULTS),
    st.sampled_from([-1.0, 0.0, 0.001, *BUCKETS, 0.0051, 4000.0]),
    st.none() | st.sampled_from([-0.5, 0.25, 7.0]),
)


@given(notes=st.lists(NOTES, max_size=40))
def test_many_are_counted_as_each_would_be(notes: list[Any]) -> None:
    together, one_by_one = Page(1), Page(1)
    together.count_all([None, *notes, None])
    for note in notes:
        one_by_one.count(*note)
    found = [(page.jobs_done, rounded(page.jobs()), rounded(page.waits())) for page in (together, one_by_one)]
    together.close()
    one_by_one.close()
    assert found[0] == found[1]


def rounded(figures: dict[Any, Any]) -> dict[Any, Any]:
    """Sums of floating numbers depend on the order."""

    def of(item: Any) -> Any:
        if isinstance(item, JobCounts):
            return item.results, of(item.durations)
        return item.counts, round(item.seconds, 6)

    return {names: of(item) for names, item in figures.items()}


def test_a_wait_that_is_unknown_is_not_counted(page: Page) -> None:
    page.count("default", "j", "ok", 1.0, None)
    page.count("default", "j", "ok", 1.0, 2.0)
    assert sum(page.waits()["default"].counts) == 1


def test_a_wait_of_many_years_is_of_a_wrong_time_and_is_not_counted(page: Page) -> None:
    for waited in (2.0, 1.79e9, 1e300):
        page.count("default", "j", "ok", 1.0, waited)
    page.count_all([("default", "j", "ok", 1.0, waited) for waited in (1e300, 1.0, 4e8)])
    assert (sum(page.waits()["default"].counts), page.waits()["default"].seconds) == (2, 3.0)


def test_known_names_show_with_zeroes(page: Page) -> None:
    page.know("mail", "app.send")
    assert page.jobs()["mail", "app.send"].results == dict.fromkeys(RESULTS, 0)
    assert sum(page.waits()["mail"].counts) == 0


def total(page: Page) -> int:
    return sum(counts.results["ok"] for counts in page.jobs().values())


def test_names_beyond_the_limit_count_as_other_of_their_queue(page: Page) -> None:
    for number in range(LABEL_SETS + 20):
        page.count(f"q{number % 2}", f"job{number}", "ok", 1.0, None)
    page.count("q0", "job0", "ok", 1.0, None)
    page.count("q0", "other", "ok", 1.0, None)
    found = page.jobs()
    assert len(found) == LABEL_SETS + 2
    assert (found["q0", "job0"].results["ok"], found["q0", "other"].results["ok"]) == (2, 11)
    assert (total(page), page.jobs_done) == (LABEL_SETS + 22,) * 2


def test_queues_beyond_the_limit_count_as_other(page: Page) -> None:
    for number in range(LABEL_SETS + QUEUES + 30):
        page.count(f"q{number}", "j", "ok", 1.0, 1.0)
    found = page.jobs()
    assert len(found) == LABEL_SETS + QUEUES + 1
    assert found["other", "other"].results["ok"] == 30
    assert (total(page), len(page.waits())) == (LABEL_SETS + QUEUES + 30, QUEUES + 1)
    assert sum(page.waits()["other"].counts) == LABEL_SETS + 30


@pytest.mark.parametrize(
    ("queue", "job", "counted_as"),
    [
        ("q" * LABEL_BYTES, "j", ("q" * LABEL_BYTES, "j")),
        ("q", "é" * 101, ("q", "other")),
        ("q" * 201, "j", ("other", "other")),
        ("other", "other", ("other", "other")),
    ],
)
def test_a_name_too_long_counts_as_other(queue: str, job: str, counted_as: tuple[str, str], page: Page) -> None:
    for _ in range(2):
        page.count(queue, job, "failed", 1.0, 1.0)
    assert {names: counts.results["failed"] for names, counts in page.jobs().items()} == {counted_as: 2}
    assert list(page.waits()) == [counted_as[0]]


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Threads that take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_that_count_at_once_lose_nothing(page: Page, impatient_threads: None) -> None:
    def work() -> None:
        for number in range(2_000):
            page.count("default", f"j{number // 25}", "ok", 1.0, 1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (total(page), page.jobs_done, page.waits()["default"].seconds) == (8_000, 8_000, 8_000.0)
