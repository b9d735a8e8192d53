"""The kit for tests of applications: fake, inline and real, what is asserted, the clock, and every job twice."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import clock
from jobd.client.errors import InvalidArguments, InvalidPayload, JobdError, UnserializableArgument
from tests.waiting import wait_until

ran: list[Any] = []


@jobd.job(name="kit.note", queue="notes", retry=2)
def note(value: Any, *, loud: bool = False) -> Any:
    ran.append(value)
    return value


@jobd.job(name="kit.fail", retry=2)
def fail() -> None:
    ran.append(jobd.current_job().attempt)
    raise ValueError("boom")


@jobd.job(name="kit.push_another")
def push_another(times: int) -> None:
    ran.append(times)
    if times:
        push_another.perform_async(times - 1)


class Hard(jobd.Job, name="kit.Hard"):
    def perform(self, name: str, count: int = 1) -> None:
        ran.append((name, count))


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@pytest.fixture(autouse=True)
def no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A push that is sent all the same fails."""
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")


class TestFake:
    def test_pushes_of_all_kinds_are_collected_with_their_bytes_queue_and_time(self) -> None:
        moment = datetime(2099, 1, 1, tzinfo=UTC)
        with jobd.testing.fake() as jobs:
            jid = note.perform_async((1, 2), loud=True)
            note.set(queue="other").perform_at(moment, 2)
            note.perform_bulk([(3,), (4,)])
            jobd.Client().push({"class": "Ruby::Job", "args": []})
            Hard.perform_async("bob")
        assert [(job.name, job.args, job.kwargs, job.queue, job.at) for job in jobs] == [
            ("kit.note", [[1, 2]], {"loud": True}, "notes", None),
            ("kit.note", [2], {}, "other", moment.timestamp()),
            ("kit.note", [3], {}, "notes", None),
            ("kit.note", [4], {}, "notes", None),
            ("Ruby::Job", [], {}, "default", None),
            ("kit.Hard", ["bob"], {}, "default", None),
        ]
        assert jobs[0].jid == jid
        assert jobs[0].payload == json.loads(jobs[0].raw)
        assert jobs[0].payload["retry"] == 2
        assert ran == []

    async def test_asyncio_pushes_are_collected(self) -> None:
        with jobd.testing.fake() as jobs:
            await note.aperform_async(1)
            await note.aperform_bulk([(2,), (3,)])
            await jobd.Client().apush({"class": note, "args": [4]})
        assert [job.args for job in jobs] == [[1], [2], [3], [4]]

    def test_pushes_of_other_threads_are_collected(self) -> None:
        with jobd.testing.fake() as jobs:
            threads = [threading.Thread(target=note.perform_async, args=(number,)) for number in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
        assert sorted(job.args[0] for job in jobs) == list(range(20))

    def test_a_push_is_checked_as_ever(self) -> None:
        with jobd.testing.fake() as jobs:
            with pytest.raises(UnserializableArgument):
                note.perform_async(datetime.now(UTC))
            with pytest.raises(InvalidArguments):
                note.perform_async()  # type: ignore[call-arg]
        assert not jobs

    def test_client_middleware_changes_and_stops_pushes(self) -> None:
        @jobd.client_middleware.add
        def even_only(payload: dict[str, Any], proceed: Callable[..., Any]) -> Any:
            return None if payload["args"][0] % 2 else proceed({**payload, "seen": True})

        with jobd.testing.fake() as jobs:
            assert note.perform_async(1) is None
            note.perform_bulk([(2,), (3,), (4,)])
        assert [(job.args, job.payload["seen"]) for job in jobs] == [([2], True), ([4], True)]

    def test_views_show_the_jobs_of_one_job_and_of_one_queue(self) -> None:
        with jobd.testing.fake() as jobs:
            note.perform_async(1)
            note.set(queue="other").perform_async(2)
            Hard.perform_async("bob")
            assert [job.args for job in jobs.of(note)] == [[1], [2]]
            assert [job.args for job in jobs.of(Hard)] == [["bob"]]
            assert [job.args for job in jobs.of("kit.note").queue("other").all] == [[2]]
            jobs.queue("notes").clear()
            assert [job.args for job in jobs] == [[2], ["bob"]]
            jobs.clear()
            assert len(jobs) == 0

    def test_modes_nest_and_the_one_before_holds_again(self) -> None:
        with jobd.testing.fake() as outer:
            note.perform_async(1)
            with jobd.testing.fake() as inner:
                note.perform_async(2)
                with jobd.testing.inline():
                    note.perform_async(3)
                with jobd.testing.real(), pytest.raises(JobdError):
                    note.perform_async(4)
            note.perform_async(5)
        assert ([job.args for job in outer], [job.args for job in inner], ran) == ([[1], [5]], [[2]], [3])

    def test_a_mode_may_be_begun_and_ended_without_a_block_in_any_order(self) -> None:
        first = jobd.testing.fake()
        second = jobd.testing.fake()
        first.end()
        note.perform_async(1)
        second.end()
        second.end()
        assert (len(first), len(second)) == (0, 1)
        with pytest.raises(JobdError):
            note.perform_async(2)


class TestDrain:
    def test_it_runs_all_also_those_that_are_pushed_meanwhile(self) -> None:
        with jobd.testing.fake() as jobs:
            push_another.perform_async(2)
            note.perform_async("x")
            assert jobs.drain() == 4
        assert ran == [2, "x", 1, 0]
        assert not jobs

    def test_it_runs_those_of_a_view_alone(self) -> None:
        with jobd.testing.fake() as jobs:
            note.perform_async("a")
            Hard.perform_async("bob", 2)
            assert jobs.of(Hard).drain() == 1
            assert jobs.queue("notes").drain() == 1
        assert ran == [("bob", 2), "a"]

    def test_what_is_scheduled_waits_for_its_time_or_for_being_asked_for(self) -> None:
        with jobd.testing.fake() as jobs:
            note.perform_in(7200, "two hours")
            note.perform_in(3600, "an hour")
            note.perform_async("now")
            assert jobs.drain() == 1
            assert jobs.drain(until=datetime.now(UTC) + timedelta(minutes=61)) == 1
            assert ran == ["now", "an hour"]
            note.perform_in(60, "a minute")
            assert jobs.drain(scheduled=True) == 2
        assert ran[2:] == ["a minute", "two hours"]

    def test_the_error_of_a_job_is_raised_and_the_job_is_gone(self) -> None:
        with jobd.testing.fake() as jobs:
            fail.perform_async()
            note.perform_async(1)
            with pytest.raises(ValueError, match="boom"):
                jobs.drain()
            assert [job.name for job in jobs] == ["kit.note"]

    def test_with_retry_a_job_is_retried_as_its_options_say_and_dies(self) -> None:
        with jobd.testing.fake() as jobs:
            fail.perform_async()
            fail.set(retry=False).perform_async()
            assert jobs.drain(retry=True) == 4
            [dead] = jobs.dead
        assert ran == [1, 1, 2, 3]
        assert (dead.payload["error_class"], dead.payload["retry_count"]) == ("ValueError", 2)

    def test_with_retry_policies_hold_as_in_a_worker(self) -> None:
        told: list[str] = []

        @jobd.job(name="kit.policies", retry=5, discard_on=[KeyError], retry_on=[jobd.RetryOn(OSError, attempts=2)])
        def judged(kind: str) -> None:
            ran.append(kind)
            raise {"rescued": IndexError, "discarded": KeyError, "twice": OSError, "dead": ValueError}[kind](kind)

        judged.rescue_from(IndexError)(lambda job, error: told.append(f"rescued {error}"))
        judged.retries_exhausted(lambda job, error: told.append(f"exhausted {error}"))
        with jobd.testing.fake() as jobs:
            for kind in ("rescued", "discarded", "twice"):
                judged.perform_async(kind)
            judged.set(retry=0).perform_async("dead")
            jobs.drain(retry=True)
            assert not jobs
            assert "dead" in [job.args[0] for job in jobs.dead]
        assert [ran.count(kind) for kind in ("rescued", "discarded", "dead")] == [1, 1, 1]
        assert [word for word in told if word.startswith("rescued")] == ["rescued rescued"]
        assert "exhausted dead" in told

    def test_with_retry_a_job_that_asks_to_run_later_waits_for_that_time(self) -> None:
        @jobd.job(name="kit.later")
        def later() -> None:
            ran.append(1)
            if len(ran) < 3:
                raise jobd.RetryLater(60)

        with jobd.testing.fake() as jobs, jobd.testing.moving_clock() as moving:
            later.perform_async()
            for runs in (1, 2, 3):
                jobs.drain(retry=True)
                assert len(ran) == runs
                moving.advance(61)
            assert not jobs

    def test_a_job_that_has_expired_is_not_run(self) -> None:
        with jobd.testing.fake() as jobs, jobd.testing.moving_clock() as moving:
            note.set(expires_in=60).perform_async("too late")
            note.perform_async("in time")
            moving.advance(61)
            assert jobs.drain() == 1
        assert ran == ["in time"]

    def test_a_job_that_pushes_itself_for_ever_is_found(self) -> None:
        with jobd.testing.fake() as jobs:
            push_another.perform_async(10_000)
            with pytest.raises(JobdError, match=r"drain ran 50 jobs and 1 wait, the next is kit.push_another\(9950\)"):
                jobs.drain(limit=50)
        assert len(jobs) == 1

    def test_a_job_of_another_program_is_named_and_stays(self) -> None:
        with jobd.testing.fake() as jobs:
            jobd.Client().push({"class": "Ruby::Job", "args": []})
            with pytest.raises(JobdError, match="no job 'Ruby::Job' is defined in this process"):
                jobs.drain()
        assert len(jobs) == 1

    def test_perform_one_runs_the_first_and_returns_its_result(self) -> None:
        with jobd.testing.fake() as jobs:
            note.perform_async("a")
            note.perform_async("b")
            note.perform_in(60, "c")
            assert [jobs.perform_one(), jobs.perform_one()] == ["a", "b"]
            with pytest.raises(JobdError, match=r"no job is due; enqueued are:\n  kit.note\('c'\) on notes at"):
                jobs.perform_one()
            assert jobs.perform_one(scheduled=True) == "c"

    def test_server_middleware_and_context_are_around_each_run(self) -> None:
        variable: ContextVar[str] = jobd.carry(ContextVar("kit_tenant"))
        seen: list[Any] = []

        @jobd.server_middleware.add
        def look(job: jobd.RunningJob, proceed: Callable[[], Any]) -> Any:
            seen.append((job.name, variable.get("nobody"), job.enqueued_at is not None))
            return proceed()

        with jobd.testing.fake() as jobs:
            token = variable.set("acme")
            note.perform_async(1)
            note.perform_in(1, 2)
            variable.reset(token)
            jobs.drain(scheduled=True)
        assert seen == [("kit.note", "acme", True)] * 2


class TestInline:
    def test_a_job_runs_where_it_is_pushed_even_if_it_is_scheduled(self) -> None:
        with jobd.testing.inline():
            assert note.perform_async((1,))
            note.perform_in(3600, 2)
            note.perform_bulk([(3,), (4,)])
            push_another.perform_async(1)
        assert ran == [[1], 2, 3, 4, 1, 0]

    def test_its_error_is_raised_by_the_push(self) -> None:
        with jobd.testing.inline(), pytest.raises(ValueError, match="boom"):
            fail.perform_async()

    async def test_a_job_that_starts_an_event_loop_runs_inside_of_one(self) -> None:
        async def inner() -> None:
            ran.append("inner")

        @jobd.job(name="kit.loop")
        def loop() -> None:
            asyncio.run(inner())

        with jobd.testing.inline():
            await loop.aperform_async()
        assert ran == ["inner"]


class TestAssertions:
    @pytest.fixture
    def jobs(self) -> Any:
        with jobd.testing.fake() as jobs:
            Hard.perform_async("bob", count=5)
            Hard.perform_async("ann")
            note.perform_in(3600, (1, 2), loud=True)
            yield jobs

    @pytest.mark.parametrize(
        ("job", "asked"),
        [
            (Hard, {}),
            ("kit.Hard", {"count": 2}),
            (Hard, {"args": ("bob", 5), "count": 1}),
            (Hard, {"args": ("bob",), "kwargs": {"count": 5}}),
            (Hard, {"kwargs": {"count": 5}, "count": 1}),
            (Hard, {"kwargs": {"name": "ann"}}),
            (Hard, {"queue": "default", "at": None, "count": 2}),
            (note, {"args": ((1, 2),), "queue": "notes"}),
            (note, {"args": ([1, 2],), "kwargs": {"loud": True}}),
            (note, {"kwargs": {"loud": True}}),
        ],
    )
    def test_what_is_enqueued_is_found(self, jobs: Any, job: Any, asked: dict[str, Any]) -> None:
        jobd.testing.assert_enqueued(job, **asked)
        jobs.assert_enqueued(job, **asked)
        asked.pop("count", None)
        with pytest.raises(AssertionError, match="is enqueued; enqueued are:"):
            jobs.assert_not_enqueued(job, **asked)

    @pytest.mark.parametrize(
        ("job", "asked", "message"),
        [
            (Hard, {"args": ("bob",)}, "kit.Hard('bob') is not enqueued"),
            (Hard, {"count": 3}, "kit.Hard(…) is enqueued 2 times, not 3"),
            (Hard, {"kwargs": {"count": 6}}, "kit.Hard(…, count=6) is not enqueued"),
            (Hard, {"args": ("bob",), "kwargs": {"count": 6}}, "kit.Hard('bob', 6) is not enqueued"),
            (Hard, {"queue": "critical"}, "kit.Hard(…) on critical is not enqueued"),
            (note, {"at": None}, "kit.note(…) without a time is not enqueued"),
            (note, {"at": datetime(2099, 1, 1, tzinfo=UTC)}, "kit.note(…) at 2099-01-01T00:00:00+00:00 is not"),
            ("kit.none", {}, "kit.none(…) is not enqueued"),
        ],
    )
    def test_what_is_not_is_named_beside_what_is(
        self, jobs: Any, job: Any, asked: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(AssertionError, match=re.escape(message)) as caught:
            jobd.testing.assert_enqueued(job, **asked)
        assert "enqueued are:\n  kit.Hard('bob', 5) on default\n  kit.Hard('ann') on default\n" in str(caught.value)
        if not asked.get("count"):
            jobd.testing.assert_not_enqueued(job, **asked)

    def test_a_delay_is_found_by_its_time(self, jobs: Any) -> None:
        jobs.assert_enqueued(note, at=time.time() + 3600)
        with pytest.raises(AssertionError):
            jobs.assert_enqueued(note, at=time.time() + 3610)

    def test_without_any_job_it_says_so(self) -> None:
        with jobd.testing.fake(), pytest.raises(AssertionError, match="nothing is enqueued"):
            jobd.testing.assert_enqueued(note)

    def test_only_the_mode_fake_can_tell(self) -> None:
        with jobd.testing.inline(), pytest.raises(JobdError, match="only the mode fake collects jobs"):
            jobd.testing.assert_enqueued(note)
        with pytest.raises(JobdError, match="only the mode fake"):
            jobd.testing.assert_not_enqueued(note)

    def test_what_no_push_can_be_is_refused(self, jobs: Any) -> None:
        with pytest.raises(UnserializableArgument):
            jobs.assert_enqueued(note, args=(datetime.now(UTC),))
        with pytest.raises(InvalidPayload):
            jobs.assert_enqueued(5)
        with pytest.raises(InvalidArguments):
            jobs.assert_enqueued(Hard, args=(), kwargs={"nobody": 1})


class TestClock:
    def test_a_collected_job_is_due_once_the_clock_has_moved(self) -> None:
        with jobd.testing.fake() as jobs, jobd.testing.moving_clock() as moving:
            note.perform_in(timedelta(hours=1), "later")
            moving.advance(3599)
            assert jobs.drain() == 0
            moving.advance(timedelta(seconds=2))
            assert jobs.drain() == 1
            assert timedelta(hours=1) < moving.now() - datetime.now(UTC) < timedelta(hours=2)
        assert clock.ahead == 0

    def test_it_only_moves_on(self) -> None:
        with jobd.testing.moving_clock() as moving, pytest.raises(JobdError, match="a clock only moves on"):
            moving.advance(-1)


class TestTwice:
    def test_every_job_runs_two_times_with_the_same_arguments(self) -> None:
        @jobd.job(name="kit.append")
        def append(values: list[int], *, more: dict[str, int]) -> int:
            values.append(1)
            more["b"] = 2
            ran.append((values, more))
            return len(values)

        with jobd.testing.twice():
            assert append.perform_inline([0], more={"a": 1}) == 2
        assert ran == [([0, 1], {"a": 1, "b": 2})] * 2
        assert append.perform_inline([0], more={}) == 2
        assert len(ran) == 3

    def test_a_job_that_cannot_run_again_fails_and_says_why(self) -> None:
        @jobd.job(name="kit.once")
        def once() -> None:
            assert not ran
            ran.append(1)

        with jobd.testing.twice(), jobd.testing.fake() as jobs:
            jobd.configure(server_middleware=[])
            once.perform_async()
            with pytest.raises(AssertionError) as caught:
                jobs.drain()
        assert caught.value.__notes__[0].startswith("kit.once ran a second time")


class TestWorker:
    @pytest.fixture(autouse=True)
    def real_redis(self, no_redis: None, redis_url: str) -> None:
        jobd.configure(redis_url=redis_url)

    def test_drain_waits_until_nothing_is_left(self, redis: Redis) -> None:
        push_another.perform_async(30)
        note.perform_bulk((number,) for number in range(200))
        note.perform_in(3600, "later")
        with jobd.testing.worker() as worker:
            worker.drain()
            assert len(ran) == 231
            Hard.perform_async("bob")
            worker.drain()
            assert ran[-1] == ("bob", 1)
        assert redis.zcard("schedule") == 1

    def test_a_scheduled_job_and_a_retry_run_once_the_clock_has_moved(self) -> None:
        fail.perform_async()
        note.perform_in(3600, "later")
        with jobd.testing.worker() as worker, jobd.testing.moving_clock(worker.look_again) as moving:
            worker.drain()
            assert ran == [1]
            moving.advance(60)
            worker.drain()
            assert ran == [1, 2]
            moving.advance(3600)
            worker.drain()
        assert sorted(map(str, ran)) == ["1", "2", "3", "later"]

    def test_a_cron_entry_ticks_once_the_clock_has_reached_its_time(self) -> None:
        jobd.CronSet().create("hourly", "0 * * * *", note, args=["tick"], catch_up="once")
        with jobd.testing.worker() as worker, jobd.testing.moving_clock(worker.look_again) as moving:
            worker.drain()
            moving.advance(3600)
            wait_until(lambda: ran == ["tick"], "the tick")

    def test_jobs_in_a_queue_that_nobody_serves_are_told(self) -> None:
        note.set(queue="forgotten").perform_async(1)
        with jobd.testing.worker() as worker, pytest.raises(JobdError, match="jobs wait in forgotten, which this"):
            worker.drain()

    def test_a_job_that_does_not_end_is_told(self) -> None:
        go_on = threading.Event()

        @jobd.job(name="kit.linger")
        def linger() -> None:
            go_on.wait(10)

        linger.perform_async()
        with jobd.testing.worker() as worker:
            with pytest.raises(JobdError, match=r"not done within 0.2 s: .*running=1"):
                worker.drain(timeout=0.2)
            go_on.set()
            worker.drain()

    def test_every_job_runs_twice_there_too(self) -> None:
        with jobd.testing.twice(), jobd.testing.worker(concurrency=1) as worker:
            note.perform_async(1)
            worker.drain()
            wait_until(lambda: len(ran) == 2, "two runs")
        assert ran == [1, 1]
