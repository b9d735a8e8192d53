"""The floor: what a plain consumer of a Redis list does with redis-py. It loses what it holds when it is killed.

`work THREADS` consumes; `sleep THREADS SECONDS NAP` has no queue at all: it prints how many naps a second threads take.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from effects import EFFECTS, QUEUE, server
from producer import main


def push(name: str, *args: Any) -> None:
    """One job, in a payload like those of the others."""
    server().lpush(QUEUE, payload(name, args))


def payload(name: str, args: Any) -> str:
    """As long as the one that Sidekiq writes."""
    now = time.time()
    fields = {"retry": True, "queue": QUEUE, "args": args, "class": name, "jid": "0123456789abcdef01234567"}
    return json.dumps({**fields, "created_at": now, "enqueued_at": now})


def consume() -> None:
    """BRPOP, decode, call."""
    while True:
        _, found = server().brpop([QUEUE])
        job = json.loads(found)
        EFFECTS[job["class"]](*job["args"])


def work(threads: int) -> None:
    """Consume for ever."""
    workers = [threading.Thread(target=consume) for _ in range(threads)]
    for worker in workers:
        worker.start()


def sleep(threads: int, seconds: float, nap: float) -> None:
    """Print naps a second of so many threads that do nothing else."""
    naps, start, until = [0] * threads, time.perf_counter(), time.perf_counter() + seconds

    def loop(number: int) -> None:
        while time.perf_counter() < until:
            time.sleep(nap)
            naps[number] += 1

    sleepers = [threading.Thread(target=loop, args=(number,)) for number in range(threads)]
    for sleeper in sleepers:
        sleeper.start()
    for sleeper in sleepers:
        sleeper.join()
    print(sum(naps) / (time.perf_counter() - start))


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(int(sys.argv[2]))
    elif sys.argv[1] == "sleep":
        sleep(int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
    else:
        main(
            {name: lambda *args, name=name: push(name, *args) for name in EFFECTS},
            lambda name, jobs: server().lpush(QUEUE, *(payload(name, args) for args in jobs)),
        )
