"""A process as the scripts see it: what it holds, what it asks for, and how it takes the answers.

It keeps to the same rules as the worker's ledger, and also uses what only a prefetching one needs: a batch, closed with
some of its jobs still running.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from jobd.client.scripts import Fenced, Finished, Move, Resync, Settled, Taken, join_value
from tests.protocol.reference import Refused, Request, age

Fate = Literal["run", "done", "retry", "dead", "discard", "back"]
FATES: tuple[Fate, ...] = ("run", "done", "retry", "dead", "discard", "back")
Answer = Fenced | Resync | Settled | Taken | Refused


@dataclass(frozen=True)
class Running:
    """A job that this process has. `field` is its name in the record once it is single."""

    field: str
    queue: str
    payload: bytes
    batched: bool = False


@dataclass
class Caller:
    """One owner: its jobs, and the request that is not yet answered."""

    owner: str
    token: str
    calls: int = 0
    running: dict[str, Running] = field(default_factory=dict)
    ended: dict[bytes, Fate] = field(default_factory=dict)
    pending: Request | None = None
    answered: Request | None = None
    fates: dict[str, Fate] = field(default_factory=dict)
    resync: Resync | None = None

    @property
    def has_batch(self) -> bool:
        """Whether a batch is open."""
        return any(job.batched for job in self.running.values())

    def fetch(
        self, now: float, fates: Sequence[Fate], *, close: bool, want: int, batch: bool, queues: Sequence[str]
    ) -> Request:
        """Acknowledge by `fates` and ask for up to `want` jobs."""
        self._decide([fate if fate != "back" else "run" for fate in fates], close=close)
        mode: Literal["batch", "single"] = "batch" if batch and (close or not self.has_batch) else "single"
        made = self._request("fetch", now, close=close)
        return replace(made, number=self.calls, want=want, mode=mode, queues=tuple(queues))

    def ack(self, now: float, fates: Sequence[Fate], *, close: bool) -> Request:
        """Acknowledge by `fates`."""
        self._decide([fate if fate != "back" else "run" for fate in fates], close=close)
        return self._request("ack", now, close=close)

    def settle(self, now: float, fates: Sequence[Fate], *, close: bool) -> Request:
        """Acknowledge and give back by `fates`."""
        self._decide(fates, close=close)
        made = self._request("settle", now, close=close)
        jobs = sorted(self.running.values(), key=lambda job: age(job.field), reverse=True)
        back = tuple(
            ("" if job.batched else job.field, job.queue, job.payload)
            for job in jobs
            if self.fates[job.field] == "back"
        )
        return replace(made, back=back)

    def settle_again(self, now: float) -> Request:
        """After a fail-over: tell the server what has ended, and give back what nobody here knows."""
        assert self.resync is not None
        known = {job.payload: job for job in self.running.values()}
        members = [self._known_again("", queue, payload, known) for queue, payload in self.resync.batch]
        singles = [self._known_again(name, *job, known) for name, job in self.resync.jobs.items()]
        stragglers = [(job.field, join_value(job.queue, job.payload)) for job, fate in members if fate == "run"]
        singles.sort(key=lambda entry: age(entry[0].field), reverse=True)
        finished = Finished(
            close_batch=bool(members),
            batch_done=sum(fate == "done" for _, fate in members),
            stragglers=stragglers,
            done=[job.field for job, fate in singles if fate == "done"],
            moves=[m for job, fate in [*members, *singles] if (m := _move(job, fate, now)) is not None],
        )
        given_back = [job for job, fate in [*reversed(members), *singles] if fate == "back"]
        self.calls += 1
        back = tuple(("" if job.batched else job.field, job.queue, job.payload) for job in given_back)
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

    def _decide(self, fates: Sequence[Fate], *, close: bool) -> None:
        jobs = sorted(self.running.values(), key=lambda job: age(job.field))
        wanted = {job.field: fates[i % len(fates)] if fates else "run" for i, job in enumerate(jobs)}
        self.fates = {job.field: "run" if job.batched and not close else wanted[job.field] for job in jobs}

    def _request(self, kind: Literal["fetch", "ack", "settle"], now: float, *, close: bool) -> Request:
        jobs = [(job, self.fates[job.field]) for job in sorted(self.running.values(), key=lambda job: age(job.field))]
        finished = Finished(
            close_batch=close and self.has_batch,
            batch_done=sum(job.batched and fate == "done" for job, fate in jobs),
            stragglers=[
                (job.field, join_value(job.queue, job.payload))
                for job, fate in jobs
                if close and job.batched and fate == "run"
            ],
            done=[job.field for job, fate in jobs if not job.batched and fate == "done"],
            moves=[m for job, fate in jobs if (m := _move(job, fate, now)) is not None],
        )
        self.calls += 1
        return Request(kind, self.owner, self.token, self._new_token(), now, finished)

    def _new_token(self) -> str:
        return f"{self.calls}:{self.owner}"

    def _known_again(
        self, name: str, queue: str, payload: bytes, known: Mapping[bytes, Running]
    ) -> tuple[Running, Fate]:
        here = known.get(payload)
        if name:
            fate = "run" if name in self.running else self.ended.get(payload, "back")
            return Running(name, queue, payload), fate
        if here is not None:
            return replace(here, queue=queue, batched=True), "run"
        return Running("0.0", queue, payload, batched=True), self.ended.get(payload, "back")

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
                self.ended[self.running.pop(name).payload] = fate
        self.fates = {}

    def _admit(self, request: Request, jobs: Sequence[tuple[str, bytes]]) -> None:
        for i, (queue, payload) in enumerate(jobs, 1):
            name = f"{request.number}.{i}"
            self.running[name] = Running(name, queue, payload, batched=request.mode == "batch")


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
