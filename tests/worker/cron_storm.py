"""Four processes tick one entry by one clock, and are killed at random: `python cron_storm.py URL TICKS SEED`.

A program of its own, since it forks. The clock is theirs alone and goes a second forward at each step. Prints how many
were killed.
"""

from __future__ import annotations

import mmap
import os
import random
import select
import signal
import struct
import sys

from redis import Redis

from jobd.client.connection import Connector
from jobd.client.cron_expression import parse
from jobd.client.keys import Keys
from jobd.worker.clock import ServerClock
from jobd.worker.cron import CronTicker

PROCESSES = 4
STEP = 0.006
"""Seconds that a second of the clock lasts."""


def follow(url: str, clock: mmap.mmap) -> None:
    """Tick by the clock until killed."""
    ticker = CronTicker(Connector(url), Keys(), ServerClock(), leads=lambda: True)
    while True:
        ticker.run(struct.unpack("d", clock[:8])[0])
        pause(0.002)


def pause(seconds: float) -> None:
    select.select([], [], [], seconds)


def fork(url: str, clock: mmap.mmap) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            follow(url, clock)
        finally:
            os._exit(1)
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "a process ended by itself"


def main(url: str, ticks: int, seed: int, start: float) -> None:
    """Let the clock go from `start` through `ticks` seconds."""
    parse("* * * * * *").after(start)  # so that nobody has to import anything after the fork
    dice, clock, killed = random.Random(seed), mmap.mmap(-1, 8), 0
    clock[:8] = struct.pack("d", start)
    pids = [fork(url, clock) for _ in range(PROCESSES)]
    for step in range(1, ticks + 1):
        clock[:8] = struct.pack("d", start + step)
        pause(dice.uniform(0, 2 * STEP))
        if dice.random() < 0.2:
            kill(pids.pop(dice.randrange(len(pids))))
            pids.append(fork(url, clock))
            killed += 1
    with Redis.from_url(url) as redis:
        for _ in range(1_000):
            if redis.llen("queue:default") >= ticks:
                break
            pause(0.005)
        pause(0.05)  # for what would be too many
    for pid in pids:
        kill(pid)
    print(killed)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
