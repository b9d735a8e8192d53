"""Due jobs run in their time, also when the process that promotes them dies."""

from __future__ import annotations

import os
import signal
import time

from redis import Redis

from tests.supervisor.conftest import StartJobd
from tests.waiting import wait_until

TAKEN_OVER = 2.0
SLACK = 1.0
"""For a machine that is busy with other tests."""


def holder(redis: Redis) -> str:
    """The identity of the process that promotes; empty when there is none."""
    found = redis.get("jobd:scheduler")
    return found.decode() if isinstance(found, bytes) else ""


def test_when_the_process_that_promotes_stands_still_another_follows_within_two_seconds(
    start_jobd: StartJobd, redis: Redis
) -> None:
    jobd = start_jobd(processes=2)
    for number in range(2):
        wait_until(lambda: holder(redis) in jobd.identities, "one of them to promote")
        frozen = holder(redis)
        pid = int(frozen.split(":")[1])
        jobd.push("quick", number, wait=0.5)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            wait_until(lambda gone=frozen: holder(redis) not in ("", gone), "the other one to promote")
            assert time.monotonic() - began < TAKEN_OVER + SLACK
            jobd.wait_for_lines("ended", number + 1)
        finally:
            os.kill(pid, signal.SIGCONT)
    assert jobd.lines("ended") == ["0", "1"]


def test_when_it_is_killed_its_sibling_or_its_replacement_follows(start_jobd: StartJobd, redis: Redis) -> None:
    jobd = start_jobd(processes=2)
    wait_until(lambda: holder(redis) in jobd.identities, "one of them to promote")
    killed = holder(redis)
    jobd.push("quick", 1, wait=0.5)
    os.kill(int(killed.split(":")[1]), signal.SIGKILL)
    jobd.wait_for_lines("ended", 1)
    assert holder(redis) not in ("", killed)
