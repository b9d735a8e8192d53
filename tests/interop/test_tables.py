"""Retry delays, and the limits of the dead set, with Ruby's real code for its side."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.worker.retry import retry_delay
from tests.interop.conftest import StartJobd
from tests.interop.ruby_process import Console
from tests.waiting import wait_until

MONTHS = 180 * 24 * 3600
ALMOST_ONE = 1 - 2**-53


def rubys_delays(ruby: Console, jitter: str) -> list[int]:
    """The delays of Sidekiq's code for 25 failures, with its random number replaced."""
    code = f"""
    retrier = Sidekiq::JobRetry.new
    retrier.define_singleton_method(:rand) {{ |limit| {jitter} }}
    (0...25).map {{ |count| retrier.send(:delay_for, nil, count, nil) }}
    """
    delays: list[int] = ruby(code)
    return delays


def test_delays_without_jitter_are_equal(ruby: Console) -> None:
    delays = rubys_delays(ruby, "0")
    assert [retry_delay(count, 0.0) for count in range(25)] == delays
    assert sum(delays) == 1_763_395


def test_the_jitter_is_that_of_sidekiq_8_which_covers_that_of_6(ruby: Console) -> None:
    """6.4 draws one of ten steps of count + 1 seconds, 8 any whole second below ten such steps, and so does jobd."""
    longest = rubys_delays(ruby, "limit - 1")
    for count in range(25):
        base = count**4 + 15
        assert longest[count] == base + 9 * (count + 1)
        assert retry_delay(count, ALMOST_ONE) == base + 10 * (count + 1) - 1
        ours = {retry_delay(count, chance / 1000) - base for chance in range(1000)}
        assert ours == set(range(10 * (count + 1)))


def fill(redis: Redis, count: int) -> None:
    """So many dead, killed within the last hours."""
    now = time.time()
    redis.zadd("dead", {f'{{"class":"A","args":[],"jid":"{number}"}}': now - 1 - number for number in range(count)})


def die(ruby: Console, client: jobd.Client, redis: Redis, side: str) -> None:
    """One more job dies, on one side."""
    if side == "ruby":
        ruby("Sidekiq::DeadSet.new.kill(Sidekiq.dump_json('class' => 'A', 'args' => [], 'jid' => 'last'))")
    else:
        client.push({"class": "BothBreak", "args": ["no"], "queue": "python", "retry": 0, "jid": "last"})
        wait_until(lambda: redis.get("stat:failed") == b"1", "the death")


@pytest.mark.parametrize(("side", "kept"), [("ruby", 9_999), ("python", 10_000)])
def test_the_dead_set_is_cut_to_its_limit(
    side: str, kept: int, ruby: Console, client: jobd.Client, start_jobd: StartJobd, redis: Redis
) -> None:
    """Sidekiq 6.4 keeps one less than it says. The oldest go."""
    start_jobd()
    fill(redis, 10_005)
    die(ruby, client, redis, side)
    assert redis.zcard("dead") == kept
    oldest: Any = redis.zrange("dead", 0, 0)
    assert oldest == [f'{{"class":"A","args":[],"jid":"{kept - 2}"}}'.encode()]


@pytest.mark.parametrize("side", ["ruby", "python"])
def test_after_180_days_the_dead_are_gone(
    side: str, ruby: Console, client: jobd.Client, start_jobd: StartJobd, redis: Redis
) -> None:
    start_jobd()
    redis.zadd("dead", {"old": time.time() - MONTHS - 60, "young": time.time() - MONTHS + 60})
    die(ruby, client, redis, side)
    assert redis.zcard("dead") == 2
    assert redis.zscore("dead", "young")


def test_limits_of_jobd_can_be_set(client: jobd.Client, ruby: Console, start_jobd: StartJobd, redis: Redis) -> None:
    start_jobd(dead_max_jobs=5, dead_timeout=1800)
    fill(redis, 100)
    redis.zadd("dead", {"old": time.time() - 1801})
    die(ruby, client, redis, "python")
    assert redis.zcard("dead") == 5
