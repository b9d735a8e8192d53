"""The cron of a real jobd: whatever process is killed, its ticks go on within two seconds, and each is run once."""

from __future__ import annotations

import json
from typing import Any

from redis import Redis

from tests.supervisor.conftest import StartJobd
from tests.waiting import wait_until

ENTRY = {"cron": "* * * * * *", "class": "nobody.knows", "queue": "unread", "date_as_argument": True}


def test_the_death_of_the_process_that_ticks_costs_no_tick(start_jobd: StartJobd, redis: Redis) -> None:
    jobd = start_jobd(processes=3, cron={"every second": ENTRY})

    def runs() -> list[tuple[float, float]]:
        """Each tick, and how much later its job was pushed."""
        raw: Any = redis.lrange("queue:unread", 0, -1)
        jobs = [json.loads(payload) for payload in reversed(raw)]
        return [(job["args"][0], job["enqueued_at"] - job["args"][0]) for job in jobs]

    wait_until(runs, "it ticks")
    holder: Any = redis.get("jobd:scheduler")
    [ticking] = [worker for worker in jobd.workers if f":{worker.pid}:" in holder.decode()]
    ticking.kill()
    dead = len(runs())
    wait_until(lambda: len(runs()) > dead + 2, "another one ticks")
    ticks = [tick for tick, _ in runs()]
    assert ticks == [ticks[0] + i for i in range(len(ticks))]
    assert max(late for _, late in runs()) < 4
    assert redis.hget("cron_job:every second", "source") == b"config"
    assert len(jobd.events("cron.registered")) >= 1
