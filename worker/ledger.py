"""The in-progress record of one owner: the only part of a process that takes jobs from Redis or gives them up.

Each call carries a token and the one that it expects, so that a call whose reply was lost can be sent again without
being carried out twice, and a process that was recovered by others can change nothing any more. One lock orders the
calls until their reply is there. What becomes of a job is decided elsewhere; here it is only recorded.

Jobs are fetched singly, each with a field of its own in the record, or as a batch, which lies there as one list. The
call after that, whatever it is, closes the batch: its finished jobs leave with the list, and those that are still held
become single ones. So at most one batch is open, and none of its members has been acknowledged or given back.

A job is finished by its thread without a lock, and perhaps taken from it at the same moment. Whose it is, is settled
where the finished ones are collected, under the lock: a job that is in no batch and not among the single ones is late.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import msgspec
from redis.exceptions import ResponseError

from jobd.client import scripts
from jobd.client.connection import Connector, is_readonly
from jobd.client.keys import Keys
from jobd.client.scripts import (
    Call,
    DeadLimits,
    Fenced,
    Finished,
    Move,
    Record,
    Resync,
    Settled,
    Taken,
    join_value,
)
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.outage import Backoff, Outage

P = ParamSpec("P")
T = TypeVar("T")
Place = tuple[int, int]
"""Call and index of a job: the order in which jobs were fetched."""
_REMEMBERED = 2_000
"""Acknowledgements kept, should a fail-over make the server forget them."""


class Aborted(Exception):
    """The process must end now; an unanswered call is left to recovery."""


class Fetched(msgspec.Struct, eq=False):
    """A job in progress: the call that fetched it and its index there, from 1, its source queue and original bytes.

    `suspects`: when it was fetched, some job was suspected of crashes; the fetcher then finds out whether this one is.
    `held` is False once it was finished or given back, or its owner fenced. `move` and `note` are what it was
    finished with.

    A struct of msgspec, since one is made for each job and that takes it a third of the time of a class of Python's.
    """

    call: int
    index: int
    queue: str
    payload: bytes
    suspects: bool = False
    held: bool = True
    move: Move | None = None
    note: object = None

    @property
    def field(self) -> str:
        """Its name in the record, unless it lies there in the batch."""
        return f"{self.call}.{self.index}"


@dataclass(frozen=True, slots=True)
class _Report:
    """What a call is to tell: of which new finished jobs, in order, and how; and what it gives back."""

    jobs: Sequence[Fetched]
    finished: Finished
    back: Sequence[tuple[str, str, bytes]] = ()


class _Memory:
    """What became of the jobs acknowledged last, without their bytes: their moves by call and index."""

    def __init__(self) -> None:
        self._calls: OrderedDict[int, dict[int, Move | None]] = OrderedDict()
        self._size = 0

    def __contains__(self, place: Place) -> bool:
        return place[1] in self._calls.get(place[0], ())

    def __getitem__(self, place: Place) -> Move | None:
        return self._calls[place[0]][place[1]]

    def add(self, jobs: Sequence[Fetched]) -> None:
        """Remember these, and forget those of the oldest calls that are too many."""
        call, moves = 0, dict[int, Move | None]()
        for job in jobs:
            if job.call != call:
                call = job.call
                moves = self._calls.setdefault(call, {})
            moves[job.index] = job.move
        self._size += len(jobs)
        while self._size > _REMEMBERED:
            self._size -= len(self._calls.popitem(last=False)[1])


class Ledger:
    """Fetches jobs for one owner, acknowledges them and gives them back. Safe across threads."""

    def __init__(
        self,
        connector: Connector,
        keys: Keys,
        clock: ServerClock,
        *,
        new_owner: Callable[[], str],
        facts: Mapping[str, str],
        limits: DeadLimits,
        outage: Outage,
        abort: threading.Event,
        on_acknowledged: Callable[[Sequence[Any]], None] = lambda notes: None,
        on_given_back: Callable[[Fetched], None] = lambda job: None,
        on_taken: Callable[[Sequence[tuple[str, int]]], None] = lambda runs: None,
    ) -> None:
        """`new_owner` names the owner, at first and after each fencing; `facts` are about its host.

        `abort` ends the wait for a server that does not answer. `on_acknowledged` hears of the notes of all jobs whose
        acknowledgement one call has confirmed, in the order in which they were finished and of each once;
        `on_given_back` of each job that `give_back` has returned to its queue, `on_taken` of how many jobs a fetch has
        taken from which queues. All are called under the ledger's lock: they must neither call it nor raise.
        """
        self._connector, self._keys, self._clock = connector, keys, clock
        self._new_owner, self._facts, self._limits = new_owner, facts, limits
        self._outage, self._abort, self._reports = outage, abort, log.Reports()
        self._on_acknowledged, self._on_given_back, self._on_taken = on_acknowledged, on_given_back, on_taken
        self._lock = threading.Lock()
        self._connection: Any = None
        self._opened = 0.0
        self._owner: str | None = None
        self._token = ""
        self._calls = 0
        self._batch: list[Fetched] = []
        self._singles: set[Fetched] = set()
        self._finished: deque[Fetched] = deque()
        self._memory = _Memory()
        self._fenced = threading.Event()
        self._ending = False
        self.fetched_at = 0.0
        """Time of the last fetch that Redis answered, in epoch seconds; 0 before the first."""

    @property
    def owner(self) -> str | None:
        """The name under which jobs are held now; None before the first call and after a fencing."""
        return self._owner

    @property
    def running(self) -> list[Fetched]:
        """The jobs that are held, oldest first: those that run, and those that wait for a thread."""
        # The batch first: meanwhile its members may become single ones, which then are seen twice and not missed.
        found = {*self._batch, *self._singles}
        return sorted((job for job in found if job.held), key=_place)

    def fetch(self, want: int, queues: Sequence[tuple[str, int]], *, batch: bool = False) -> list[Fetched]:
        """Acknowledge what is finished and take up to `want` jobs (at most 1,000), as a batch or singly.

        Each queue comes with what it gives at most before the others were asked. Once all were given back, none is
        taken. Waits out a lost connection; raises Aborted.
        """
        mode: Literal["batch", "single"] = "batch" if batch else "single"
        with self._lock:
            while not self._ending:
                number, report = self._next_call(), self._collect()
                reply = self._exchange(scripts.fetch, report.finished, call=number, want=want, mode=mode, queues=queues)
                if isinstance(reply, Taken):
                    self.fetched_at = self._clock.now()
                    self._confirm(report.jobs, reply.note, reply.dropped)
                    self._on_taken(reply.runs)
                    return self._admit(number, reply, batch=batch)
                self._repair(reply, report)
            return []

    def finish(self, job: Fetched, move: Move | None, note: object = None) -> bool:
        """Note that `job` is finished; the next call acknowledges it. False when it is no longer held.

        `move` says where it goes and leaves its field empty. `note` is for `on_acknowledged`. This is on the way of
        each job: no lock, nothing new is made, and all the rest is done once per call.
        """
        if not job.held:
            return False
        job.move, job.note = move, note
        # Appended while it is held: whoever looks in between must not take it for one that nobody knows.
        self._finished.append(job)
        job.held = False
        return True

    def flush(self) -> None:
        """Acknowledge now what is finished. Raises Aborted."""
        with self._lock:
            while self._finished:
                report = self._collect()
                reply = self._exchange(scripts.ack, report.finished)
                if isinstance(reply, Settled):
                    self._confirm(report.jobs, reply.note, reply.dropped)
                else:
                    self._repair(reply, report)

    def give_back(self, jobs: Sequence[Fetched]) -> int:
        """Return unfinished jobs to their queues, next to be taken; returns how many. Raises Aborted."""
        with self._lock:
            return self._give_back(jobs)

    def give_back_all(self) -> int:
        """Return all that is held, and fetch nothing any more; returns how many. Raises Aborted.

        A fetch that is under way when this is called has ended before, so that its jobs go back too.
        """
        with self._lock:
            self._ending = True
            return self._give_back(self.running)

    def mark_fenced(self) -> None:
        """Note that a beat was refused: the next call finds out and takes a new owner."""
        self._fenced.set()

    def close(self) -> bool:
        """Acknowledge what is finished and leave the directory. False: jobs are left for recovery. Raises Aborted."""
        try:
            self.flush()
            with self._lock:
                if self._owner is None:
                    return True
                empty = self._send(scripts.leave(self._keys, self._owner))
                self._owner = None
                return empty
        finally:
            with self._lock:
                self._disconnect()

    def beat(self, client_call: Callable[[Call[bool]], bool]) -> bool:
        """Renew the lease by `client_call`, on a connection of the caller. False: no owner yet, or fenced."""
        owner = self._owner
        if owner is None:
            return False
        alive = client_call(scripts.beat(self._keys, owner, self._clock.now()))
        if not alive and owner == self._owner:
            self.mark_fenced()
        return alive

    def _give_back(self, jobs: Sequence[Fetched]) -> int:
        call = self._batch_call
        claimed = [job for job in dict.fromkeys(jobs) if job.held and (job.call == call or job in self._singles)]
        for job in claimed:
            job.held = False
        if not claimed and not self._finished:
            return 0
        finished = self._drain()
        ended = set(finished)
        back = sorted((job for job in claimed if job not in ended), key=_place, reverse=True)
        entries = [("" if job.call == call else job.field, job.queue, job.payload) for job in back]
        if not self._settle(_Report(finished, self._close_batch(finished, back), entries)):
            return 0
        for job in back:
            self._on_given_back(job)
        return len(back)

    def _exchange(
        self, build: Callable[Concatenate[Record, P], Call[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T | Fenced:
        """Send the call that `build` makes of the record, under a fresh token, until it is answered."""
        if self._fenced.is_set():
            return Fenced()
        owner = self._owner or self._register()
        record = Record(self._keys, owner, self._token, self._new_token(), self._clock.now(), self._limits)
        reply = self._send(build(record, *args, **kwargs))
        if isinstance(reply, Taken | Settled):
            self._token = record.token
        return reply

    def _register(self) -> str:
        while True:
            owner, token = self._new_owner(), self._new_token()
            call = scripts.register(self._keys, owner, token, self._clock.now(), self._facts)
            if self._send(call):
                self._owner, self._token = owner, token
                return owner

    @property
    def _batch_call(self) -> int:
        """The call that opened the batch; 0 when none is open."""
        return self._batch[0].call if self._batch else 0

    def _collect(self) -> _Report:
        """What is finished, for a call that closes the batch."""
        jobs = self._drain()
        return _Report(jobs, self._close_batch(jobs))

    def _drain(self) -> list[Fetched]:
        """The finished jobs, in order, without those that were late."""
        finished, call = self._finished, self._batch_call
        jobs = [finished.popleft() for _ in range(len(finished))]
        others = [job for job in jobs if job.call != call]
        late = [job for job in others if job not in self._singles]
        if not late:
            return jobs
        for job in late:
            hint = "it was given back or recovered meanwhile, and runs twice"
            log.event("job.not_ours", level=log.WARNING, queue=job.queue, hint=hint)
        return [job for job in jobs if job not in late]

    def _close_batch(self, jobs: Sequence[Fetched], back: Sequence[Fetched] = ()) -> Finished:
        """How a call tells that `jobs` are finished, while it also gives `back` some; they are all let go.

        Of the batch, all the others are kept as single ones, whatever their threads say that they run. Several passes
        over the jobs, since a comprehension that picks some of them costs less than a loop that looks at each.
        """
        call, batch = self._batch_call, self._batch
        members = [job for job in jobs if job.call == call]
        moves = [job.move for job in members if job.move is not None]
        done = len(members) - len(moves)
        left: list[Fetched] = []
        if len(members) < len(batch):
            gone = {*members, *back}
            left = [job for job in batch if job not in gone]
        self._singles.update(left)
        self._batch = []
        fields: list[str] = []
        if len(members) < len(jobs):
            singles = [job for job in jobs if job.call != call]
            fields = [job.field for job in singles if job.move is None]
            moves += [replace(job.move, field=job.field) for job in singles if job.move is not None]
            self._singles.difference_update(singles)
        self._singles.difference_update(back)
        return Finished(
            close_batch=bool(batch),
            batch_done=done,
            stragglers=[(job.field, join_value(job.queue, job.payload)) for job in left],
            done=fields,
            moves=moves,
        )

    def _settle(self, report: _Report) -> bool:
        """Acknowledge and give back. False when the owner is lost, and the jobs with it."""
        reply = self._exchange(scripts.settle, report.finished, report.back)
        if isinstance(reply, Settled):
            self._confirm(report.jobs, reply.note, reply.dropped)
            return True
        # After a RESYNC, what was to go back is known to nobody here, so it goes back together with the rest.
        return self._repair(reply, report)

    def _repair(self, reply: Fenced | Resync | object, report: _Report) -> bool:
        """Go on after a refusal; False when the owner is lost."""
        if isinstance(reply, Resync):
            return self._resync(reply, report)
        self._lose_owner(report)
        return False

    def _lose_owner(self, report: _Report) -> None:
        """Somebody recovered this owner, or Redis came back empty: start anew, with nothing."""
        running = self.running
        log.event(
            "owner.fenced",
            level=log.WARNING,
            owner=self._owner,
            running=len(running),
            unacknowledged=len(report.jobs) + len(self._finished),
            hint="its jobs were given to others, and may run twice",
        )
        for job in running:
            job.held = False
        self._owner = None
        self._batch = []
        self._singles.clear()
        self._finished.clear()
        self._memory = _Memory()
        self._fenced.clear()

    def _resync(self, reply: Resync, report: _Report) -> bool:
        """A fail-over made the server forget calls: tell it again what is finished, give back what nobody knows."""
        # The batch was closed here by the refused call, so all jobs are single ones by now, whatever the server holds.
        self._finished.extendleft(reversed(report.jobs))
        self._singles.update(report.jobs)
        jobs = self._drain()
        self._singles.difference_update(jobs)
        again = _told_again(reply, jobs, self._memory, {_place(job) for job in self._singles})
        log.event(
            "owner.resynced",
            level=log.WARNING,
            owner=self._owner,
            finished=again.finished.batch_done + len(again.finished.done) + len(again.finished.moves),
            given_back=len(again.back),
        )
        self._token = reply.token
        return self._settle(again)

    def _confirm(self, jobs: Sequence[Fetched], note: str, dropped: int) -> None:
        if jobs:
            self._memory.add(jobs)
            self._on_acknowledged([job.note for job in jobs])
        self._reports.tell(note, dropped)

    def _admit(self, number: int, taken: Taken, *, batch: bool) -> list[Fetched]:
        suspects = taken.suspects
        fetched = [Fetched(number, i, queue, payload, suspects) for i, (queue, payload) in enumerate(taken.jobs, 1)]
        if batch:
            self._batch = fetched[:]
        else:
            self._singles.update(fetched)
        return fetched

    def _next_call(self) -> int:
        self._calls += 1
        return self._calls

    def _new_token(self) -> str:
        return f"{self._calls}:{os.urandom(8).hex()}"

    def _send(self, call: Call[T]) -> T:
        """Send the same call until the server answers it. Raises Aborted."""
        backoff = Backoff()
        while True:
            if self._abort.is_set():
                raise Aborted
            try:
                if self._outage.outdates(self._opened):
                    # It might be dead and not know it: a reply would be waited for in vain.
                    self._disconnect()
                if self._connection is None:
                    self._connection = self._connect()
                reply = scripts.send(self._connection, call)
            except Exception as error:  # whatever it was: only an answer to this very call says what became of it
                self._note_failure(error)
                self._abort.wait(backoff.pause())
            else:
                self._outage.works(self._opened)
                return reply

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, ResponseError) and not is_readonly(error):
            # Redis is there: as an outage it would be over with the next beat, and not be told again.
            self._reports.refused(error)
            return
        self._disconnect()
        self._outage.failed(error, self._opened)

    def _connect(self) -> Any:
        connection, self._opened = self._connector.dedicated(), time.monotonic()
        connection.connect()
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


def _told_again(reply: Resync, jobs: Sequence[Fetched], memory: _Memory, held: Collection[Place]) -> _Report:
    """What the server must hear of each job that it holds.

    `jobs` are finished and were not acknowledged yet, `memory` has those that were, and the jobs at `held` go on.
    What is none of these goes back.
    """
    ended = {_place(job): job.move for job in jobs}
    members = [((reply.batch_call, i), "", job) for i, job in enumerate(reply.batch, 1)]
    singles = [(_place_of(name), name, job) for name, job in reply.jobs.items()]
    batch_done, stragglers, done, moves, back = 0, [], list[str](), list[Move](), []
    for place, name, (queue, payload) in sorted(members + singles):
        if place in ended or place in memory:
            move = ended[place] if place in ended else memory[place]
            if move is not None:
                moves.append(replace(move, field=name))
            elif name:
                done.append(name)
            else:
                batch_done += 1
        elif place not in held:
            back.append((name, queue, payload))
        elif not name:
            stragglers.append((f"{place[0]}.{place[1]}", join_value(queue, payload)))
    finished = Finished(bool(members), batch_done, stragglers, done, moves)
    return _Report(jobs, finished, back[::-1])


def _place(job: Fetched) -> Place:
    return job.call, job.index


def _place_of(name: str) -> Place:
    call, _, index = name.partition(".")
    return int(call), int(index)
