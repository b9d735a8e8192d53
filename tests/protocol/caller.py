"""A process as the scripts see it: what it holds, what it asks for, and how it takes the answers.

It keeps to the same rules as the worker's ledger, and also uses what only a prefetching one needs: a batch, closed with
some of its jobs still running.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from jobd.client.scripts import Fenced, Finished, Move, Resync, Settled, Taken, join_value
from tests.protocol.reference import Job, Refused, Request, age

Fate = Literal["run", "done", "retry", "dead", "discard", "back"]
Kind = Literal["fetch", "ack", "settle"]
FATES: tuple[Fate, ...] = ("run", "done", "retry", "dead", "discard", "back")
KINDS: tuple[Kind, ...] = ("fetch", "ack", "settle")
Answer = Fenced | Resync | Settled | Taken | Refused


@dataclass(frozen=True)
class Wish:
    """What a process is about to do. `fates` are dealt in turn to its jobs; an open batch is left or closed.

    `quotas` are dealt in turn to `queues`; without any, each queue may give all.
    """

    kind: Kind
    fates: Sequence[Fate]
    close: bool
    want: int
    batch: bool
    quotas: Sequence[int]
    queues: Sequence[str]

    def asked(self) -> tuple[tuple[str, int], ...]:
        """The queues with their quotas."""
        quotas = self.quotas or [self.want]
        return tuple((queue, quotas[i % len(quotas)]) for i, queue in enumerate(self.queues))


@dataclass(frozen=True)
class Running:
    """A job that this process has. `field` is its call and index, its name in the record once it is single."""

    field: str
    queue: str
    payload: bytes
    batched: bool = False


@dataclass
class Caller:
    """One owner: its jobs, and the request that is not yet answered."""

    owner: str
    token: str
    calls: int = 7
    """Number of the last call; the order of fields differs from that of their texts once it has two digits."""
    running: dict[str, Running] = field(default_factory=dict)
    ended: dict[str, Fate] = field(default_factory=dict)
    """What became of jobs, by their names."""
    pending: Request | None = None
    answered: Request | None = None
    fates: dict[str, Fate] = field(default_factory=dict)
    resync: Resync | None = None

    @property
    def has_batch(self) -> bool:
        """Whether a batch is open."""
        return any(job.batched for job in self.running.values())

    def request(self, now: float, wish: Wish) -> Request:
        """What this process sends when it wants `wish` and holds what it holds."""
        close = wish.close and self.has_batch
        self._decide(wish, close=close)
        jobs = self._by_age()
        decided = [(job, self.fates[job.field]) for job in jobs]
        finished = Finished(
            close_batch=close,
            batch_done=sum(job.batched and fate == "done" for job, fate in decided),
            stragglers=[_as_single(job) for job, fate in decided if close and job.batched and fate == "run"],
            done=[job.field for job, fate in decided if not job.batched and fate == "done"],
            moves=[m for job, fate in decided if (m := _move(job, fate, now)) is not None],
        )
        back = tuple(_as_given_back(job) for job, fate in reversed(decided) if fate == "back")
        self.calls += 1
        made = Request(wish.kind, self.owner, self.token, self._new_token(), now, finished, back=back)
        if wish.kind != "fetch":
            return made
        mode: Literal["batch", "single"] = "batch" if wish.batch else "single"
        return replace(made, number=self.calls, want=wish.want, mode=mode, queues=wish.asked())

    def settle_again(self, now: float) -> Request:
        """After a fail-over: tell the server what has ended, and give back what nobody here knows."""
        assert self.resync is not None
        call = self.resync.batch_call
        members = [self._known_again(f"{call}.{i}", job, batched=True) for i, job in enumerate(self.resync.batch, 1)]
        singles = [self._known_again(name, job) for name, job in self.resync.jobs.items()]
        singles.sort(key=lambda entry: age(entry[0].field), reverse=True)
        finished = Finished(
            close_batch=bool(members),
            batch_done=sum(fate == "done" for _, fate in members),
            stragglers=[_as_single(job) for job, fate in members if fate == "run"],
            done=[job.field for job, fate in singles if fate == "done"],
            moves=[m for job, fate in [*members, *singles] if (m := _move(job, fate, now)) is not None],
        )
        back = tuple(_as_given_back(job) for job, fate in [*reversed(members), *singles] if fate == "back")
        self.calls += 1
        return Request("settle", self.owner, self.resync.token, self._new_token(), now, finished, back=back)

    def hear(self, request: Request, answer: Answer) -> None:
        """Take the answer to `request`. A refused one is asked again, as the worker does."""
        self.pending = request if isinstance(answer, Refused) else None
        if isinstance(answer, Settled | Taken):
            self._confirm(request)
        if isinstance(answer, Taken):
            self._admit(request, answer.jobs)
        if isinstance(answer, Resync):
            self._end_jobs()
            self.resync = answer

    def _by_age(self) -> list[Running]:
        return sorted(self.running.values(), key=lambda job: age(job.field))

    def _decide(self, wish: Wish, *, close: bool) -> None:
        """Only a settle gives back, and a batch is left alone unless it is closed."""
        fates = [fate if fate != "back" or wish.kind == "settle" else "run" for fate in wish.fates] or ["run"]
        for i, job in enumerate(self._by_age()):
            self.fates[job.field] = "run" if job.batched and not close else fates[i % len(fates)]

    def _new_token(self) -> str:
        return f"{self.calls}:{self.owner}"

    def _known_again(self, name: str, job: Job, *, batched: bool = False) -> tuple[Running, Fate]:
        fate = "run" if name in self.running else self.ended.get(name, "back")
        return Running(name, *job, batched), fate

    def _confirm(self, request: Request) -> None:
        self.token = request.token
        if self.resync is not None:
            self.resync = None
            self.running = {name: replace(job, batched=False) for name, job in self.running.items()}
            return
        if request.finished.close_batch:
            self.running = {name: replace(job, batched=False) for name, job in self.running.items()}
        self._end_jobs()

    def _end_jobs(self) -> None:
        for name, fate in self.fates.items():
            if fate != "run" and name in self.running:
                del self.running[name]
                self.ended[name] = fate
        self.fates = {}

    def _admit(self, request: Request, jobs: Sequence[tuple[str, bytes]]) -> None:
        """A second batch is never opened: its jobs are single."""
        batched = request.mode == "batch" and not self.has_batch
        for i, (queue, payload) in enumerate(jobs, 1):
            name = f"{request.number}.{i}"
            self.running[name] = Running(name, queue, payload, batched)


def _as_single(job: Running) -> tuple[str, bytes]:
    return job.field, join_value(job.queue, job.payload)


def _as_given_back(job: Running) -> tuple[str, str, bytes]:
    return "" if job.batched else job.field, job.queue, job.payload


def _move(job: Running, fate: Fate, now: float) -> Move | None:
    """Where a failed job goes. Its bytes change on the way to `retry` and `dead`, as they do in the worker."""
    name = "" if job.batched else job.field
    if fate == "retry":
        return Move(name, "retry", now + 30, job.payload + b"r", 1, 1)
    if fate == "dead":
        return Move(name, "dead", now, job.payload + b"d", 1, 1)
    if fate == "discard":
        return Move(name, "", 0.0, job.payload, 1, 1)
    return None
