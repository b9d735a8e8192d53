"""Rounds of `kill -9` under mixed load, and then the books: `python -m tests.chaos.conservation [ROUNDS] [SEED]`.

Each round has a seed, which its line names, a Redis of its own with a durable log, and a `jobd -d`. For a while
`killer.py` kills processes of either while `mixed_load.py` pushes. Then the load is drained, or pushed until the end;
jobd is stopped in order, and `books.py` finds every job in one place, each attempt counted once, nothing in progress,
and no run interrupted but those that a kill explains. The last lines are figures. The exit code is 1 if anything was
wrong; the files of a round that went wrong stay. Several may run at once.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobd.client.defaults import PREFETCH
from jobd.supervisor import exits, strangers
from tests.chaos import series
from tests.chaos.books import Audit, Contents, Runs, audit
from tests.chaos.daemon import TIMEOUT, Daemon
from tests.chaos.killer import Killer
from tests.chaos.mixed_load import QUEUES, MixedLoad
from tests.servers import RedisServer
from tests.supervisor.jobd_command import DEFECTS
from tests.waiting import wait_until

TROUBLE_SECONDS = (0.3, 0.9)
PAUSE = 0.3
"""Seconds between two acts at most."""
CALM_SECONDS = 20.0
"""Until all that was killed is recovered, and the load is drained, at most."""
STOP_WITHIN = TIMEOUT + 4.0
THREADS = 5
"""At most. The fewer there are, and the fewer of their jobs are slow, the longer are the batches."""
QUICK = {
    "jobd.client.defaults.SCHEDULER_LEASE": 0.3,
    "jobd.client.defaults.RECONNECT_MAX": 0.2,
    "jobd.supervisor.policy.FIRST_DELAY": 0.05,
    "jobd.supervisor.policy.MAX_DELAY": 0.05,
}
"""What need not take as long as in production."""


@dataclass
class Round:
    """What one round was, and what came of it."""

    seed: int
    how: str = "not ended"
    kills: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    books: Audit = field(default_factory=Audit)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def line(self, number: int) -> str:
        """In one line."""
        books = self.books
        kills = ", ".join(f"{count} {name}" for name, count in self.kills.items())
        text = f"{number:4} seed {self.seed}: {kills}; {books.places.total()} jobs, {books.processed} processed, "
        text += f"{books.failed} failed, {books.again} again, {books.places['queue']} queued, {self.how}, "
        text += f"{self.seconds:.2f} s"
        return text + "".join(f"\n     WRONG: {problem}" for problem in self.problems)


def run_round(seed: int, directory: Path) -> Round:
    """One round with this seed, in an empty directory."""
    begun, chance = time.monotonic(), random.Random(seed)
    drains, batches = chance.random() < 0.5, chance.random() < 0.5
    with RedisServer(appendonly=True, args=("--appendfsync", "always")) as server:
        daemon = Daemon(
            directory, server.url, constants=QUICK, patch="short_backoff", **_settings(chance, batches=batches)
        )
        killer = Killer(daemon, server, chance)
        daemon.start()
        with server.client() as redis, MixedLoad(server.url, redis, random.Random(seed), batches=batches) as load:
            _trouble(killer, chance)
            problems = _calm(daemon, server, killer, load, drains=drains)
            problems += _stop(daemon, server)
            load.stop()
        books = _books(daemon, server, load, killer)
    problems += [*books.problems, *_defects(daemon)]
    return Round(
        seed,
        how="drained" if drains else "stopped half-way",
        kills=killer.done,
        unsure=len(load.unsure),
        books=books,
        seconds=time.monotonic() - begun,
        problems=problems,
    )


def _settings(chance: random.Random, *, batches: bool) -> dict[str, Any]:
    weighted = [[name, 3 - place] for place, name in enumerate(QUEUES)]
    return {
        "concurrency": chance.randint(1, 2 if batches else THREADS),
        "queues": chance.choice((list(QUEUES), weighted)),
        "prefetch": PREFETCH if batches else chance.choice((PREFETCH, 20, 1)),
        "log_level": chance.choice(("info", "warning")),
    }


def _trouble(killer: Killer, chance: random.Random) -> None:
    until = time.monotonic() + chance.uniform(*TROUBLE_SECONDS)
    while time.monotonic() < until:
        time.sleep(chance.uniform(0, PAUSE))
        killer.act()


def _calm(daemon: Daemon, server: RedisServer, killer: Killer, load: MixedLoad, *, drains: bool) -> list[str]:
    """Have what was killed recovered, and with `drains` all jobs run that are due."""
    with server.client() as redis:
        try:
            wait_until(lambda: not _orphans(redis, daemon, killer), "the jobs of the dead to go back", CALM_SECONDS)
            if drains:
                load.stop()
                wait_until(lambda: _is_drained(redis), "the load to be drained", CALM_SECONDS)
        except AssertionError as error:
            return [str(error), *_orphans(redis, daemon, killer)]
    return []


def _orphans(redis: Any, daemon: Daemon, killer: Killer) -> list[str]:
    """Owners whose process is none of the daemon's, or was killed, though its master may not know it yet."""
    alive, owners = set(daemon.children()) - killer.killed, redis.zrange("jobd:procs", 0, -1)
    return [owner.decode() for owner in owners if int(owner.split(b":")[1]) not in alive]


def _is_drained(redis: Any) -> bool:
    """Whether nothing waits to run. A job on its way from one place to another may be missed; it is in the books."""
    queued = sum(redis.llen(f"queue:{name}") for name in QUEUES)
    return not queued and not redis.zcard("retry") and not redis.zcount("schedule", "-inf", time.time() + 60.0)


def _stop(daemon: Daemon, server: RedisServer) -> list[str]:
    daemon.signal(signal.SIGTERM)
    code = daemon.wait(STOP_WITHIN + 10.0)
    problems = [] if code == exits.OK else [f"exit code {code} after the stop"]
    try:
        wait_until(lambda: not _left_over(daemon, server), "no process left", STOP_WITHIN)
    except AssertionError as error:
        problems.append(f"{error}: {_left_over(daemon, server)}")
    return problems


def _left_over(daemon: Daemon, server: RedisServer) -> list[str]:
    strangers.reap({server.pid})
    return daemon.left_over()


def _books(daemon: Daemon, server: RedisServer, load: MixedLoad, killer: Killer) -> Audit:
    with server.client() as redis:
        contents = Contents.read(redis)
    return audit(
        contents,
        Runs.read(daemon.ledger),
        pushed=load.pushed,
        unsure=load.unsure,
        killed=killer.killed,
        threads=daemon.settings["concurrency"],
        batch=daemon.settings["prefetch"],
    )


def _defects(daemon: Daemon) -> list[str]:
    # Not line by line: a kill may cut off a write where a page of the file ends.
    text = daemon.log.read_text()
    return [f"in the log: {name}" for name in DEFECTS if f'"event": "{name}"' in text]


def summary(rounds: Sequence[Round]) -> Mapping[str, object]:
    """The figures of all rounds."""
    books = [each.books for each in rounds]
    return {
        "rounds": len(rounds),
        "wrong": sum(bool(each.problems) for each in rounds),
        "seconds": series.spread([each.seconds for each in rounds]),
        "kills": dict(sum((each.kills for each in rounds), Counter()).most_common()),
        "processes killed at work": sum(each.killed for each in books),
        "jobs": sum(each.places.total() for each in books),
        "places": dict(sum((each.places for each in books), Counter()).most_common()),
        "processed": sum(each.processed for each in books),
        "failed": sum(each.failed for each in books),
        "pushes of unknown outcome": sum(each.unsure for each in rounds),
        "runs again": sum(each.again for each in books),
        "most again of one process": max(each.most_again for each in books),
    }


def _failed(seed: int, problems: list[str]) -> Round:
    return Round(seed, problems=problems)


def main() -> int:
    """Run the rounds that the arguments ask for."""
    return series.main(lambda count, seed: series.run_rounds(count, seed, run_round, _failed), summary)


if __name__ == "__main__":
    sys.exit(main())
