"""Gives back the jobs of processes that died.

Three ways lead here. A master names the owners of a child that it saw die. At start, records of this very system are
looked through for processes that are gone together with their master. And an owner whose beat has not changed for a
whole lease, on this process' own monotonic clock while its own beats went through, is dead wherever it ran; so neither
an outage of Redis nor a jump of any clock makes everybody look dead.

The crash that a master names is held against the jobs that ran; the loss of a host against all in progress, which are
rarely its cause, so that it takes more of them. `crash.py` decides it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from redis.exceptions import ResponseError

from jobd.client import defaults, scripts
from jobd.client.connection import Connector, is_readonly
from jobd.client.keys import Keys
from jobd.client.payload import Timestamps, display_name
from jobd.client.scripts import DeadLimits, Recovered
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.crash import Charge, Crash, Judgement, Orphan, accuse, judge
from jobd.worker.host import HostFacts, is_gone

__all__ = ["Crash", "Orphan", "Recovery"]

_FACTS = ("boot", "pid_namespace", "pid", "start", "master_pid", "master_start")


class Recovery:
    """Finds dead owners and recovers them. Used by one thread at a time; raises redis-py's errors."""

    def __init__(
        self,
        connector: Connector,
        keys: Keys,
        clock: ServerClock,
        *,
        here: HostFacts,
        identity: Callable[[], str],
        is_own: Callable[[str], bool],
        limits: DeadLimits,
        lease: float,
        max_crashes: int = defaults.MAX_CRASHES,
        timestamps: Timestamps = "s",
        on_death: Callable[[Judgement], None] = lambda judgement: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_own` tells the owners of this process; `lease` is in seconds.

        A job goes to the dead set at its crash number `max_crashes`, and `on_death` hears of it.
        """
        self._connector, self._keys, self._clock, self._here = connector, keys, clock, here
        self._identity, self._is_own, self._limits = identity, is_own, limits
        self._lease, self._monotonic, self._reports = lease, monotonic, log.Reports()
        self._max_crashes, self._on_death = max_crashes, on_death
        self._timestamps: Timestamps = timestamps
        self._run_id = ""
        self._seen: dict[str, tuple[float, float]] = {}

    def named(self, orphans: Iterable[Orphan]) -> None:
        """Recover owners whose process is known to have ended."""
        for orphan in orphans:
            charge = None if orphan.crash is None else Charge(orphan.crash, self._max_crashes)
            self._recover(orphan.owner, None, orphan.why, charge)

    def earlier_here(self) -> None:
        """Recover owners of this system whose process and master are gone."""
        for owner in self._directory():
            if not self._is_own(owner) and is_gone(self._facts(owner), self._here):
                why = "its process and its master are gone"
                self._recover(owner, None, why, _loss_of_host(why))

    def expired(self) -> None:
        """Recover owners that have not beaten for a lease. To be called after each own beat that went through."""
        run_id = self._master_run_id()
        if run_id != self._run_id:
            self.forget()
            self._run_id = run_id
        now, directory = self._monotonic(), self._directory()
        self._seen = {
            owner: self._seen[owner] if self._seen.get(owner, (None, 0))[0] == score else (score, now)
            for owner, score in directory.items()
        }
        for owner, (score, since) in list(self._seen.items()):
            if now - since >= self._lease and not self._is_own(owner):
                why = f"no beat for {now - since:.0f} s"
                self._recover(owner, score, why, _loss_of_host(why))

    def forget(self) -> None:
        """Judge nobody by what was seen before: our own beat failed, or the server is another one."""
        self._seen.clear()

    def _master_run_id(self) -> str:
        client: Any = self._connector.client()
        server, replication = client.info("server"), client.info("replication")
        return f"{server.get('run_id')}/{replication.get('role')}"

    def _directory(self) -> dict[str, float]:
        client: Any = self._connector.client()
        return {owner.decode(): score for owner, score in client.zrange(self._keys.owners, 0, -1, withscores=True)}

    def _facts(self, owner: str) -> Mapping[str, str]:
        client: Any = self._connector.client()
        values = client.hmget(self._keys.jobs(owner), _FACTS)
        return {name: value.decode() for name, value in zip(_FACTS, values, strict=True) if value is not None}

    def _recover(self, owner: str, score: float | None, why: str, charge: Charge | None) -> None:
        try:
            self._give_back(owner, score, why, charge)
        except ResponseError as error:
            if is_readonly(error):
                raise
            # A damaged key of one owner must not keep the jobs of all others from going back.
            self._reports.tell(f"{owner} cannot be recovered: {error}")

    def _give_back(self, owner: str, score: float | None, why: str, charge: Charge | None) -> None:
        with self._connector.connection() as connection:
            takeover = scripts.send(connection, scripts.take(self._keys, owner, self._identity(), score))
            if takeover.state == "ALIVE":
                return
            # Only Ruby prunes the views; where none runs, the dead would stay in them for ever.
            scripts.send(connection, scripts.retire(self._keys, owner.partition("/")[0]))
            if takeover.state == "GONE":
                return
            if charge is not None and not charge.host:
                # What ran may be a member of the batch.
                scripts.send(connection, scripts.unbatch(self._keys, owner))
            jobs, step = 0, Recovered(done=False)
            while not step.done:
                judgements = [] if charge is None else self._judge(owner, charge)
                blames = [judgement.blame for judgement in judgements]
                now = self._clock.now()
                step = scripts.send(
                    connection,
                    scripts.recover(self._keys, owner, takeover.queues, now, self._limits, blames=blames),
                )
                jobs += step.given_back
                self._reports.tell(step.note, step.dropped)
                self._tell(judgements, step)
        self._seen.pop(owner, None)
        log.event("owner.recovered", level=log.WARNING, owner=owner, jobs=jobs, why=why)

    def _judge(self, owner: str, charge: Charge) -> list[Judgement]:
        client: Any = self._connector.client()
        record = {
            name.decode("utf-8", "replace"): value for name, value in client.hgetall(self._keys.jobs(owner)).items()
        }
        singles = {name: scripts.split_value(value) for name, value in record.items() if scripts.is_job_field(name)}
        accused = accuse(singles, charge)
        if not accused:
            return []
        count_of = self._keys.host_crashes if charge.host else self._keys.crashes
        counts = [_number(value) for value in client.mget([count_of(each.jid) for each in accused])]
        host, now = record.get("host", b"").decode("utf-8", "replace"), self._clock.now()
        return [
            judge(each, charge, before=before, host=host, now=now, timestamps=self._timestamps)
            for each, before in zip(accused, counts, strict=True)
        ]

    def _tell(self, judgements: Iterable[Judgement], step: Recovered) -> None:
        for judgement in judgements:
            job = judgement.accused
            if job.field not in step.blamed:
                continue
            line: dict[str, Any] = {"jid": job.jid, "job": display_name(job.payload), "queue": job.queue}
            line |= {"crashes": judgement.crashes, "error": judgement.error}
            if judgement.blame.dead:
                self._on_death(judgement)
                log.event("job.dead", level=log.ERROR, **line)
            else:
                log.event("job.crashed", level=log.WARNING, **line)


def _loss_of_host(why: str) -> Charge:
    return Charge(Crash(why, (), None, ""), defaults.MAX_HOST_CRASHES, host=True)


def _number(value: bytes | None) -> int:
    """A count as it stands in Redis; what somebody wrote over it counts for nothing."""
    return int(value) if value is not None and value.isdigit() else 0
