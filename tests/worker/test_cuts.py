"""A connection that breaks at any byte, or whose replies are late: every job is in exactly one place all the same.

A conversation of the ledger with Redis, and one of pushes, are cut after each byte of the requests and of the replies.
`$JOBD_CUT_STRIDE` sets how far apart these bytes are [97 and 11], from a random one on; with 1 it is every one.
`$JOBD_CUT_ROUNDS` sets how many rounds there are of all that at random [1], `$JOBD_CUT_SEED` the first one [1].
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, cast

import pytest
from redis import Redis

import jobd
from jobd.client import push, scripts
from jobd.client.errors import JobdError
from jobd.client.scripts import Move
from tests.protocol import state
from tests.protocol.state import Held, State
from tests.proxy import Direction, Proxy
from tests.servers import RedisServer
from tests.worker.conftest import Events
from tests.worker.conversations import (
    IN_TIME,
    KEYS,
    LATE,
    LATER,
    NOW,
    PATIENCE,
    Attempt,
    Process,
    assert_pushed_once,
    delay_first_replies,
    everywhere,
    note,
)

STRIDE: dict[Direction, int] = {
    "requests": int(os.environ.get("JOBD_CUT_STRIDE", "97")),
    "replies": int(os.environ.get("JOBD_CUT_STRIDE", "11")),
}
ROUNDS = int(os.environ.get("JOBD_CUT_ROUNDS", "1"))
SEED = int(os.environ.get("JOBD_CUT_SEED", "1"))

both_directions = pytest.mark.parametrize("direction", ["requests", "replies"])


@pytest.fixture
def proxy(redis_server: RedisServer, redis: Redis) -> Iterator[Proxy]:
    with Proxy(redis_server.socket) as made:
        yield made


def cut_at_any_byte(proxy: Proxy, direction: Direction, converse: Callable[[], None]) -> None:
    """Have the conversation, which asserts what must hold after it, once with each cut."""
    before = proxy.passed[direction]
    converse()
    total, stride = proxy.passed[direction] - before, STRIDE[direction]
    assert total > 100
    for count in range(random.randrange(stride), total + 1, stride):
        proxy.cut_after(count, direction)
        try:
            converse()
            proxy.wait_until_lost()
        except BaseException as error:
            error.add_note(f"cut after {count} of {total} bytes of {direction}; JOBD_CUT_STRIDE=1 has it again")
            raise


class TestLedger:
    """It is told the same, and leaves Redis the same, as without a cut."""

    CALLS = 9
    A, B = ([f"{queue}{i}\r\n$-1\r\n\n".encode() + b"\xff" for i in range(8)] for queue in "ab")
    """Jobs of two queues, in their order; no text, with line breaks."""
    LEFT: ClassVar[State] = {
        KEYS.queues: Held(frozenset({b"a", b"b"})),
        "queue:a": Held([A[7], A[6], A[5], A[3]]),
        "queue:b": Held([B[7], B[6], B[5], B[4], B[3], B[2]]),
        KEYS.retry: Held({A[1] + b" again": NOW + 30}),
        KEYS.dead: Held({B[0] + b" dead": NOW}),
        KEYS.stat_processed: Held(b"6"),
        KEYS.stat_failed: Held(b"3"),
        KEYS.stat_processed_on(NOW): Held(b"6", expires=True),
        KEYS.stat_failed_on(NOW): Held(b"3", expires=True),
    }

    @pytest.fixture(autouse=True)
    def known_scripts(self, redis: Redis) -> None:
        for name in ("register", "fetch", "beat", "ack", "settle", "leave"):
            redis.script_load(scripts.load(name).source)

    def converse(self, proxy: Proxy, redis: Redis, patience: float = 5.0) -> None:
        """All that a ledger says, once; then what it was told, what it has sent, and what Redis holds."""
        redis.flushdb()
        redis.sadd(KEYS.queues, "a", "b")
        redis.lpush("queue:a", *self.A)
        redis.lpush("queue:b", *self.B)
        proxy.requests.clear()
        process = Process(proxy, patience)
        self.work(process)
        a, b = self.A, self.B
        assert process.fetched == [a[0], a[1], b[0], b[1], a[2], a[3], a[4], b[2]]
        assert process.acknowledged == ["a0", "a1", "b0", "a2", "a4", "b1"]
        assert process.given_back == [b[2], a[3]]
        assert process.owners == ["owner-1"]
        assert state.read(redis) == self.LEFT
        # A call that is sent again is the same, byte for byte.
        assert len({request for request in proxy.requests if b"EVALSHA" in request}) == self.CALLS

    def work(self, process: Process) -> None:
        """Fetch a batch and single jobs, let them end in every way, give some back, beat and leave."""
        ledger = process.ledger
        a0, a1, b0, b1 = process.fetch(2, 2, batch=True)
        assert process.beat()
        ledger.finish(a0, None, "a0")
        ledger.finish(a1, Move("", "retry", NOW + 30, a1.payload + b" again", 1, 1), "a1")
        a2, a3 = process.fetch(2, 0, batch=False)
        ledger.finish(b0, Move("", "dead", NOW, b0.payload + b" dead", 1, 1), "b0")
        ledger.finish(a2, Move("", "", 0.0, a2.payload, 1, 1), "a2")
        ledger.flush()
        a4, b2 = process.fetch(1, 1, batch=True)
        ledger.finish(a4, None, "a4")
        assert ledger.give_back([a3, b2]) == 2
        ledger.finish(b1, None, "b1")
        assert process.close()

    @both_directions
    def test_a_cut_at_any_byte_changes_nothing(
        self, proxy: Proxy, redis: Redis, events: Events, direction: Direction
    ) -> None:
        cut_at_any_byte(proxy, direction, lambda: self.converse(proxy, redis))
        assert set(events.names) == {"redis.lost", "redis.back"}

    def test_replies_in_two_parts_change_nothing(self, proxy: Proxy, redis: Redis, events: Events) -> None:
        for _ in range(self.CALLS):
            proxy.delay(IN_TIME, halves=True)
        self.converse(proxy, redis)
        assert events.names == []

    def test_a_reply_that_is_late_answers_no_other_call(self, proxy: Proxy, redis: Redis) -> None:
        self.converse(proxy, redis)
        delay_first_replies(proxy, self.CALLS)
        self.converse(proxy, redis, patience=PATIENCE)


class TestPushes:
    """Each is sent at most once, and who pushes is told the truth."""

    def converse(self, push_all: Callable[[], Sequence[Attempt]], redis: Redis) -> Sequence[Attempt]:
        """All kinds of pushes, once, and what must hold after them."""
        redis.flushdb()
        attempts = push_all()
        held = state.read(redis)
        assert_pushed_once(attempts, everywhere(held))
        for key in ("queue:a", "queue:b", "queue:ruby"):
            numbers = [json.loads(job)["args"][0] for job in everywhere({key: held[key]})] if key in held else []
            assert numbers == sorted(numbers)
        return attempts

    def pushes(self, prefix: str) -> Iterator[tuple[range, Callable[[], Any]]]:
        """Numbers of the jobs, and how they are pushed; `prefix` is that of the methods for asyncio."""

        def pushing(target: Any, method: str, *args: Any, **kwargs: Any) -> Callable[[], Any]:
            return lambda: getattr(target, prefix + method)(*args, **kwargs)

        numbers = range(3, 10)
        yield range(1), pushing(note, "perform_async", 0)
        yield range(1, 2), pushing(note.set(queue="b", retry=3, tags=["x"]), "perform_async", 1)
        yield range(2, 3), pushing(note, "perform_at", LATER, 2)
        yield numbers, pushing(note, "perform_bulk", [(number,) for number in numbers], batch_size=3)
        item = {"class": "Ruby::Job", "args": [10], "queue": "ruby"}
        yield range(10, 11), pushing(push.default_client(), "push", item)
        yield range(11, 13), pushing(note, "perform_bulk", [(11,), (12,)], at=LATER)

    def push_all(self) -> Sequence[Attempt]:
        attempts = []
        for numbers, perform in self.pushes(""):
            try:
                attempts.append(Attempt.returned(numbers, perform()))
            except JobdError as error:
                attempts.append(Attempt.failed(numbers, error))
        push.default_client().close()
        return attempts

    async def apush_all(self) -> Sequence[Attempt]:
        attempts = []
        for numbers, perform in self.pushes("a"):
            try:
                attempts.append(Attempt.returned(numbers, await perform()))
            except JobdError as error:
                attempts.append(Attempt.failed(numbers, error))
        await push.default_client().aclose()
        return attempts

    @pytest.fixture(params=["threads", "asyncio"])
    def push_all_jobs(self, proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[Callable[[], Sequence[Attempt]]]:
        """Push all, as a thread does or under asyncio, through the proxy."""
        jobd.configure(redis_url=proxy.url, timestamps="ms")
        if request.param == "threads":
            yield self.push_all
            return
        with asyncio.Runner() as runner:
            yield lambda: runner.run(self.apush_all())

    @both_directions
    def test_a_cut_at_any_byte_costs_one_push_at_most(
        self, proxy: Proxy, redis: Redis, push_all_jobs: Callable[[], Sequence[Attempt]], direction: Direction
    ) -> None:
        def converse() -> None:
            redis.script_flush()
            attempts = self.converse(push_all_jobs, redis)
            assert sum(len(attempt.pushed) < len(attempt.numbers) for attempt in attempts) <= 1

        cut_at_any_byte(proxy, direction, converse)

    def test_a_reply_that_is_late_answers_no_other_push(
        self, proxy: Proxy, redis: Redis, push_all_jobs: Callable[[], Sequence[Attempt]]
    ) -> None:
        self.converse(push_all_jobs, redis)
        jobd.configure(redis_url=f"{proxy.url}&socket_timeout={PATIENCE}")
        delay_first_replies(proxy, len(list(self.pushes(""))))
        attempts = self.converse(push_all_jobs, redis)
        assert any(attempt.perhaps for attempt in attempts)


class Round:
    """Pushes and the ledger's calls in any order, while the connections suffer all that may happen to them."""

    def __init__(self, proxy: Proxy, redis: Redis, seed: int) -> None:
        self.rng = random.Random(seed)
        self.proxy, self.redis = proxy, redis
        self.process = Process(proxy, PATIENCE)
        self.attempts: list[Attempt] = []
        self.numbers = 0
        redis.flushdb()

    def harm(self) -> None:
        """Arrange for something, or nothing, to go wrong."""
        rng, proxy = self.rng, self.proxy
        match rng.randrange(14):
            case 0 | 1:
                proxy.lose(rng.choice(("request", "reply", "silence")))
            case 2 | 3:
                proxy.cut_after(rng.randint(0, 1_500), "requests")
            case 4 | 5:
                proxy.cut_after(rng.randint(0, 150), "replies")
            case 6:
                proxy.delay(IN_TIME, halves=rng.random() < 0.5)
            case 7:
                proxy.delay(LATE, halves=rng.random() < 0.5)
            case 8:
                self.redis.script_flush()

    def act(self) -> None:
        rng = self.rng
        match rng.randrange(9):
            case 0 | 1 | 2:
                self.push()
            case 3 | 4 | 5:
                self.finish_some()
                self.process.fetch(rng.randint(0, 5), rng.randint(0, 5), batch=rng.random() < 0.7)
            case 6:
                self.finish_some()
                self.process.ledger.flush()
            case 7:
                running = self.process.ledger.running
                self.process.ledger.give_back(rng.sample(running, len(running) // 2))
            case 8:
                assert self.process.beat() or not self.process.owners

    def push(self) -> None:
        """One job or some, now or later."""
        count = self.rng.choice((1, 1, 5, 12))
        numbers = range(self.numbers, self.numbers + count)
        self.numbers += count
        pusher = self.rng.choice((note, note.set(queue="b")))
        calls = [(number,) for number in numbers]
        at = self.rng.choice((None, None, None, LATER))
        try:
            if count > 1:
                told: Any = pusher.perform_bulk(calls, at=at, batch_size=5)
            else:
                told = pusher.perform_async(*calls[0]) if at is None else pusher.perform_at(at, *calls[0])
        except JobdError as error:
            self.attempts.append(Attempt.failed(numbers, error))
        else:
            self.attempts.append(Attempt.returned(numbers, told))

    def finish_some(self) -> None:
        """In every way; a job that leaves Redis is its own note."""
        for job in self.process.ledger.running:
            match self.rng.randrange(8):
                case 0 | 1:
                    self.process.ledger.finish(job, None, (job.payload, 0))
                case 2:
                    self.process.ledger.finish(job, Move("", "", 0.0, job.payload, 1, 1), (job.payload, 1))
                case 3:
                    self.process.ledger.finish(job, Move("", "retry", NOW + 9, job.payload, 1, 1), (b"", 1))
                case 4:
                    self.process.ledger.finish(job, Move("", "dead", NOW, job.payload, 1, 1), (b"", 1))

    def check(self) -> None:
        """Each job is in one place or has left for a reason, and is counted."""
        held, ended = state.read(self.redis), self.process.acknowledged
        left = [payload for payload, _ in ended if payload]
        assert_pushed_once(self.attempts, [*everywhere(held), *left])
        nothing = Held(b"0")
        counted = (held.get(key, nothing).value for key in (KEYS.stat_processed, KEYS.stat_failed))
        assert tuple(map(int, cast("Iterable[bytes]", counted))) == (len(ended), sum(failed for _, failed in ended))

    def end(self) -> None:
        """All that runs is finished, and nobody is left who holds anything."""
        self.proxy.pass_everything()
        for job in self.process.ledger.running:
            self.process.ledger.finish(job, None, (job.payload, 0))
        assert self.process.close()
        self.check()
        assert [key for key in state.read(self.redis) if key.startswith("jobd:")] == []
        assert len(self.process.owners) <= 1


def test_whatever_happens_to_connections_every_job_is_in_exactly_one_place(proxy: Proxy, redis: Redis) -> None:
    jobd.configure(redis_url=f"{proxy.url}&socket_timeout={PATIENCE}")
    for seed in range(SEED, SEED + ROUNDS):
        chance = Round(proxy, redis, seed)
        try:
            for _ in range(100):
                chance.harm()
                chance.act()
                chance.check()
            chance.end()
        except BaseException as error:
            error.add_note(f"JOBD_CUT_SEED={seed} has it again")
            raise
