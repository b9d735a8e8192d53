"""The in-progress record of one owner: the only part of a process that takes jobs from Redis or gives them up.

Each call carries a token and the one that it expects, so that a call whose reply was lost can be sent again without
being carried out twice, and a process that was recovered by others can change nothing any more. One lock orders the
calls until their reply is there. What becomes of a job is decided elsewhere; here it is only recorded.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from redis.exceptions import ResponseError

from jobd.client import scripts
from jobd.client.connection import Connector, is_readonly
from jobd.client.keys import Keys
from jobd.client.scripts import Call, DeadLimits, Fenced, Finished, Move, Record, Resync, Settled, Taken
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.outage import Backoff, Outage

P = ParamSpec("P")
T = TypeVar("T")
_REMEMBERED = 2_000
"""Acknowledgements kept, should a fail-over make the server forget them."""


class Aborted(Exception):
    """The process must end now; an unanswered call is left to recovery."""


@dataclass(frozen=True, slots=True, eq=False)
class Fetched:
    """A job in progress: its field in the record, its source queue, and the bytes as they were in Redis.

    `suspects`: when it was fetched, some job was suspected of crashes, perhaps this one.
    """

    field: str
    queue: str
    payload: bytes
    suspects: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """What is to become of a finished job: with no move it succeeded and just leaves.

    `note` belongs to whoever finished it.
    """

    field: str
    move: Move | None
    note: object = None


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
        on_acknowledged: Callable[[object], None] = lambda note: None,
        on_given_back: Callable[[Fetched], None] = lambda job: None,
    ) -> None:
        """`new_owner` names the owner, at first and after each fencing; `facts` are about its host.

        `abort` ends the wait for a server that does not answer. `on_acknowledged` hears once of the note of each job
        whose acknowledgement Redis has confirmed, `on_given_back` of each job that `give_back` has returned to its
        queue. Both are called under the ledger's lock: they must neither call it nor raise.
        """
        self._connector, self._keys, self._clock = connector, keys, clock
        self._new_owner, self._facts, self._limits = new_owner, facts, limits
        self._outage, self._abort, self._reports = outage, abort, log.Reports()
        self._on_acknowledged, self._on_given_back = on_acknowledged, on_given_back
        self._lock = threading.Lock()
        self._connection: Any = None
        self._opened = 0.0
        self._owner: str | None = None
        self._token = ""
        self._calls = 0
        self._running: dict[str, Fetched] = {}
        self._finished: deque[Ack] = deque()
        self._remembered: OrderedDict[str, Ack] = OrderedDict()
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
        """The jobs now in progress."""
        return list(self._running.values())

    def fetch(self, want: int, queues: Sequence[str]) -> list[Fetched]:
        """Acknowledge what is finished and take up to `want` jobs; none once all were given back.

        Waits out a lost connection; raises Aborted.
        """
        with self._lock:
            while not self._ending:
                number = self._next_call()
                acks = self._drain()
                reply = self._exchange(
                    scripts.fetch, _finished(acks), call=number, want=want, mode="single", queues=queues
                )
                if isinstance(reply, Taken):
                    self.fetched_at = self._clock.now()
                    self._confirm(acks, reply.note, reply.dropped)
                    return self._admit(number, reply)
                self._repair(reply, acks)
            return []

    def finish(self, job: Fetched, move: Move | None, note: object = None) -> bool:
        """Note that `job` is finished; the next call acknowledges it. False when it is no longer this owner's.

        `move` says where it goes; its field is filled in here. `note` is for `on_acknowledged`.
        """
        if self._running.get(job.field) is not job:
            return False
        # Noted before it leaves: whoever looks in between must not take the job for one that nobody knows.
        self._finished.append(Ack(job.field, None if move is None else replace(move, field=job.field), note))
        return self._running.pop(job.field, None) is job

    def flush(self) -> None:
        """Acknowledge now what is finished. Raises Aborted."""
        with self._lock:
            while self._finished:
                acks = self._drain()
                reply = self._exchange(scripts.ack, _finished(acks))
                if isinstance(reply, Settled):
                    self._confirm(acks, reply.note, reply.dropped)
                else:
                    self._repair(reply, acks)

    def give_back(self, jobs: Sequence[Fetched]) -> int:
        """Return unfinished jobs to their queues, next to be taken; returns how many. Raises Aborted."""
        with self._lock:
            return self._give_back(jobs)

    def give_back_all(self) -> int:
        """Return all that runs, and fetch nothing any more; returns how many. Raises Aborted.

        A fetch that is under way when this is called has ended before, so that its jobs go back too.
        """
        with self._lock:
            self._ending = True
            return self._give_back(self.running)

    def _give_back(self, jobs: Sequence[Fetched]) -> int:
        mine = [job for job in jobs if self._running.pop(job.field, None) is job]
        if not mine and not self._finished:
            return 0
        entries = [(job.field, job.queue, job.payload) for job in sorted(mine, key=_age, reverse=True)]
        if not self._settle(entries):
            return 0
        for job in mine:
            self._on_given_back(job)
        return len(mine)

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

    def _repair(self, reply: Fenced | Resync | object, acks: Sequence[Ack]) -> None:
        if isinstance(reply, Resync):
            self._resync(reply, acks)
        else:
            self._lose_owner(acks)

    def _lose_owner(self, acks: Sequence[Ack]) -> None:
        """Somebody recovered this owner, or Redis came back empty: start anew, with nothing."""
        log.event(
            "owner.fenced",
            level=log.WARNING,
            owner=self._owner,
            running=len(self._running),
            unacknowledged=len(acks),
            hint="its jobs were given to others, and may run twice",
        )
        self._owner = None
        self._running.clear()
        self._finished.clear()
        self._remembered.clear()
        self._fenced.clear()

    def _resync(self, reply: Resync, acks: Sequence[Ack]) -> bool:
        """A fail-over made the server forget calls: tell it again what is finished, give back what nobody knows."""
        self._finished.extendleft(reversed(acks))
        running = set(self._running)
        pending = {ack.field for ack in self._finished.copy()}
        known_again = [ack for field, ack in self._remembered.items() if field in reply.jobs and field not in pending]
        self._finished.extendleft(known_again)
        pending |= {ack.field for ack in known_again}
        unknown = [f for f in reply.jobs if f not in pending and f not in running]
        entries = [("", queue, payload) for queue, payload in reversed(reply.batch)]
        entries += [(field, *reply.jobs[field]) for field in sorted(unknown, key=_field_age, reverse=True)]
        log.event(
            "owner.resynced", level=log.WARNING, owner=self._owner, again=len(known_again), given_back=len(entries)
        )
        self._token = reply.token
        return self._settle(entries, close_batch=bool(reply.batch))

    def _settle(self, entries: Sequence[tuple[str, str, bytes]], *, close_batch: bool = False) -> bool:
        """Acknowledge what is finished and give `entries` back. False when the owner is lost, and they with it."""
        acks = self._drain()
        finished = replace(_finished(acks), close_batch=close_batch)
        reply = self._exchange(scripts.settle, finished, entries)
        if isinstance(reply, Settled):
            self._confirm(acks, reply.note, reply.dropped)
            return True
        if isinstance(reply, Resync):
            # What was to go back is known to nobody now, so this gives it back together with the rest.
            return self._resync(reply, acks)
        self._lose_owner(acks)
        return False

    def _drain(self) -> list[Ack]:
        acks: list[Ack] = []
        while self._finished:
            acks.append(self._finished.popleft())
        return acks

    def _confirm(self, acks: Sequence[Ack], note: str, dropped: int) -> None:
        for ack in acks:
            # One that is remembered was confirmed before a fail-over made the server forget it.
            if ack.field not in self._remembered:
                self._on_acknowledged(ack.note)
            self._remembered[ack.field] = ack
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        self._reports.tell(note, dropped)

    def _admit(self, number: int, taken: Taken) -> list[Fetched]:
        fetched = [
            Fetched(f"{number}.{i}", queue, payload, taken.suspects) for i, (queue, payload) in enumerate(taken.jobs, 1)
        ]
        self._running.update((job.field, job) for job in fetched)
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
                if self._connection is None:
                    self._connection = self._connect()
                reply = scripts.send(self._connection, call)
            except Exception as error:  # whatever it was: only an answer to this very call says what became of it
                self._note_failure(error)
                self._abort.wait(backoff.pause())
            else:
                self._outage.works()
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


def _finished(acks: Sequence[Ack]) -> Finished:
    done = [ack.field for ack in acks if ack.move is None]
    return Finished(done=done, moves=[ack.move for ack in acks if ack.move is not None])


def _age(job: Fetched) -> tuple[int, int]:
    return _field_age(job.field)


def _field_age(field: str) -> tuple[int, int]:
    call, _, index = field.partition(".")
    return int(call), int(index)
