"""Rounds of random signals and kills against a daemon under load: `python -m tests.chaos.rounds [ROUNDS] [SEED]`.

Each round has a seed of its own, which its line names: `JOBD_CHAOS_SEED=SEED make chaos ROUNDS=1` has it again, as far
as signals have an order. A round starts `jobd -d`, does mischief for a while, stops it in one of several ways, and then
nothing may be left of it, and no job be lost. The last lines are figures. The exit code is 1 if anything was wrong; the
files of a round that went wrong stay.
"""

from __future__ import annotations

import os
import random
import select
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobd.client.defaults import STORE_STOP_TIMEOUT
from jobd.client.embedded import is_embedded
from jobd.supervisor import exits, strangers
from tests.chaos import series
from tests.chaos.accounts import KINDS, Balance, Load, settle
from tests.chaos.daemon import TIMEOUT, Daemon
from tests.chaos.mischief import STOPS, Mischief
from tests.servers import RedisServer
from tests.supervisor.jobd_command import DEFECTS
from tests.waiting import wait_until

STOP_WITHIN = TIMEOUT + 3
BUSY = 1.0
"""Seconds more on a machine that runs other tests too."""
EXIT_CODES = {"INT INT": {exits.OK, exits.INTERRUPTED_TWICE}, "QUIT": {exits.QUIT}}
MISCHIEF_SECONDS = (0.8, 1.8)
QUICK = {"jobd.client.defaults.SCHEDULER_LEASE": 0.5}
"""What need not take as long as in production: until another process looks for retries after a kill."""
REPEATS = {"process.gave_back", "process.left_jobs", "owner.recovered", "child.killed"}
"""Events that explain that a job runs twice."""


@dataclass
class Round:
    """What one round was, and what came of it."""

    seed: int
    how: str
    kills: int
    done: Counter[str]
    ends: Counter[str]
    stop_seconds: float
    balance: Balance
    seconds: float
    problems: list[str] = field(default_factory=list)

    def line(self, number: int) -> str:
        """In one line."""
        jobs = self.balance
        text = f"{number:4} seed {self.seed}: {sum(self.done.values()):2} acts, {self.kills} kills, "
        text += f"{sum(self.ends.values())} ends, {jobs.jobs} jobs, {jobs.repeated} again, "
        text += f"{self.how} in {self.stop_seconds:.2f} s"
        return text + "".join(f"\n     WRONG: {problem}" for problem in self.problems)


def run_round(seed: int, directory: Path, server: RedisServer) -> Round:
    """One round with this seed, in an empty directory, on a server that only this round uses."""
    begun, chance = time.monotonic(), random.Random(seed)
    with server.client() as redis:
        redis.flushall()
    rough = chance.random() < 0.7
    daemon = Daemon(directory, constants=QUICK, **_settings(chance, directory, server))
    mischief = Mischief(daemon, chance, rough=rough)
    problems: list[str] = []
    daemon.start()
    load = Load(daemon.redis_url)
    try:
        _trouble(daemon, mischief, load, chance, problems)
        how = chance.choices(STOPS, [1 if how == "frozen child" else 3 for how in STOPS])[0]
        code, took = mischief.stop(how)
    finally:
        load.close()
    problems += _after_the_stop(daemon, server, how, code, took)
    events = list(daemon.events())
    names = {event["event"] for event in events}
    balance = settle(daemon, load, orderly=not names & REPEATS and not mischief.kills)
    problems += [*balance.problems, *(f"in the log: {name}" for name in sorted(names & set(DEFECTS)))]
    if balance.repeated and not names & REPEATS:
        problems.append(f"{balance.repeated} jobs ran again, though nothing was killed")
    ends = Counter(event["reason"] for event in events if event["event"] == "child.ended")
    seconds = time.monotonic() - begun
    return Round(seed, how, mischief.kills, mischief.done, ends, took, balance, seconds, problems)


def _settings(chance: random.Random, directory: Path, server: RedisServer) -> dict[str, Any]:
    settings: dict[str, Any] = {"processes": chance.randint(2, 3), "redis_url": server.url}
    if chance.random() < 0.2:
        settings["redis_url"] = f"embedded:{directory}/store"
    if chance.random() < 0.4:
        settings["metrics"] = f"{directory}/metrics.sock"
    if chance.random() < 0.3:
        settings["max_jobs"] = chance.randint(20, 60)
    if chance.random() < 0.1:
        settings["preload"] = True
    return settings


def _trouble(daemon: Daemon, mischief: Mischief, load: Load, chance: random.Random, problems: list[str]) -> None:
    """Do things to the daemon for a while, with jobs coming in, and look at it afterwards."""
    before, starts = daemon.descriptors(), mischief.starts
    until = time.monotonic() + chance.uniform(*MISCHIEF_SECONDS)
    while time.monotonic() < until:
        load.push(chance.choice(KINDS), chance.randint(1, 12))
        mischief.act()
        assert daemon.is_alive, f"the master has ended with {daemon.wait(0)}"
        if mischief.starts > starts:
            before, starts = daemon.descriptors(), mischief.starts
        select.select([], [], [], chance.uniform(0, 0.1))
    if chance.random() < 0.8:
        daemon.ask("resume")
    problems += _look(daemon, before)


def _look(daemon: Daemon, descriptors: int) -> list[str]:
    """What a master in trouble may not have: children that wait to be reaped, other threads, more descriptors."""
    problems = []
    try:
        wait_until(lambda: not daemon.zombies(), "no zombie", 5.0)
        wait_until(lambda: daemon.descriptors() <= descriptors, f"{descriptors} descriptors and no more", 5.0)
    except AssertionError as error:
        problems.append(str(error))
    if len(os.listdir(f"/proc/{daemon.pid}/task")) != 1:
        problems.append("the master has more than one thread")
    return problems


def _after_the_stop(daemon: Daemon, server: RedisServer, how: str, code: int, took: float) -> list[str]:
    problems = []
    promised = STOP_WITHIN + (STORE_STOP_TIMEOUT if is_embedded(daemon.redis_url) else 0.0)
    if took > promised + BUSY:
        problems.append(f"the stop took {took:.2f} s, promised were {promised:g} s")
    if code not in EXIT_CODES.get(how, {exits.OK}):
        problems.append(f"exit code {code} after {how}")
    try:
        wait_until(lambda: not _left_over(daemon, server), "no process left", STOP_WITHIN)
    except AssertionError as error:
        problems.append(f"{error}: {_left_over(daemon, server)}")
    left = [
        path.name for path in daemon.directory.iterdir() if path.name in ("jobd.pid", "jobd.pid.sock", "metrics.sock")
    ]
    return [*problems, *(f"{name} is still there" for name in left)]


def _left_over(daemon: Daemon, server: RedisServer) -> list[str]:
    strangers.reap({server.pid})
    return daemon.left_over()


def _failed_round(seed: int, problems: list[str]) -> Round:
    return Round(seed, "no stop", 0, Counter(), Counter(), 0.0, Balance(0, 0, 0, 0, 0), 0.0, problems)


def run_rounds(count: int, seed: int) -> Sequence[Round]:
    """So many rounds on one server; prints a line for each."""
    with RedisServer() as server:
        return series.run_rounds(count, seed, lambda seed, directory: run_round(seed, directory, server), _failed_round)


def summary(rounds: Sequence[Round]) -> Mapping[str, object]:
    """The figures of all rounds."""
    done: Counter[str] = sum((each.done for each in rounds), Counter())
    ends: Counter[str] = sum((each.ends for each in rounds), Counter())
    stops: dict[str, list[float]] = {}
    for each in rounds:
        stops.setdefault(each.how, []).append(each.stop_seconds)
    balances = [each.balance for each in rounds]
    return {
        "rounds": len(rounds),
        "wrong": sum(bool(each.problems) for each in rounds),
        "seconds": series.spread([each.seconds for each in rounds]),
        "acts": sum(done.values()),
        "kills": sum(each.kills for each in rounds),
        "ends": dict(ends.most_common()),
        "jobs": sum(each.jobs for each in balances),
        "failed": sum(each.failed for each in balances),
        "dead": sum(each.dead for each in balances),
        "again": sum(each.repeated for each in balances),
        "stop": {how: series.spread(seconds) for how, seconds in sorted(stops.items())},
        "done": dict(done.most_common()),
    }


def main() -> int:
    """Run the rounds that the arguments ask for."""
    return series.main(run_rounds, summary)


if __name__ == "__main__":
    sys.exit(main())
