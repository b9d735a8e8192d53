"""What the scripts promise, written again as plain Python: a server in memory that answers the same requests.

Queues are kept with the job that is next to be taken first. `picture` draws the state as Redis must hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from jobd.client.keys import Keys
from jobd.client.scripts import (
    Blame,
    Call,
    DeadLimits,
    Fenced,
    Finished,
    Promoted,
    Record,
    Recovered,
    Resync,
    Settled,
    Taken,
    Takeover,
    ack,
    fetch,
    join_value,
    settle,
)
from tests.protocol.state import Held

KEYS = Keys("{test}:")
LIMITS = DeadLimits(max_jobs=4, timeout=3_600.0)
SPOILED = b"somebody wrote over this"
ASIDE = "aside:"
"""Before the name of a key: where its content lies while it is spoiled."""
FACTS = {"boot": "b", "pid": "7"}
Job = tuple[str, bytes]


@dataclass(frozen=True)
class Refused:
    """Redis answered with an error of this kind; nothing was changed."""

    kind: str


@dataclass(frozen=True)
class Request:
    """One call of an owner, as both the scripts and the reference understand it."""

    kind: Literal["fetch", "ack", "settle"]
    owner: str
    expected: str
    token: str
    now: float
    finished: Finished
    number: int = 0
    want: int = 0
    mode: Literal["batch", "single"] = "single"
    queues: tuple[tuple[str, int], ...] = ()
    """Each with its quota."""
    back: tuple[tuple[str, str, bytes], ...] = ()

    def call(self) -> Call[Fenced | Resync | Settled] | Call[Fenced | Resync | Taken]:
        """The call to send."""
        record = Record(KEYS, self.owner, self.expected, self.token, self.now, LIMITS)
        if self.kind == "fetch":
            return fetch(record, self.finished, call=self.number, want=self.want, mode=self.mode, queues=self.queues)
        if self.kind == "ack":
            return ack(record, self.finished)
        return settle(record, self.finished, self.back)


@dataclass
class InProgress:
    """The record of an owner. `call` opened the batch; None while there is none."""

    token: str
    taken: str | None = None
    call: int | None = None
    batch: list[Job] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)

    def of_call(self, number: int) -> list[Job]:
        """The jobs that this call took, in order."""
        if self.call == number:
            return list(self.batch)
        return [self.jobs[name] for name in sorted(self.jobs, key=age) if age(name)[0] == number]

    def hash(self) -> dict[bytes, bytes]:
        """The hash that Redis must hold."""
        values = {"token": self.token.encode(), **{name: value.encode() for name, value in FACTS.items()}}
        if self.taken is not None:
            values["taken"] = self.taken.encode()
        if self.call is not None:
            runs = [f"\n{queue}\n{len(list(jobs))}" for queue, jobs in groupby(queue for queue, _ in self.batch)]
            values["batch"] = (str(self.call) + "".join(runs)).encode()
        values |= {name: join_value(*job) for name, job in self.jobs.items()}
        return {name.encode(): value for name, value in values.items()}


def age(name: str) -> tuple[int, int]:
    """Call and index of a single job's field: the order in which jobs were fetched."""
    call, _, index = name.partition(".")
    return int(call), int(index)


def jid_of(payload: bytes) -> str:
    """Test jobs begin with their jid, whatever became of the rest."""
    return payload.partition(b":")[0].decode()


@dataclass
class Reference:
    """The state of a server. Notes are told as "x" or ""; only that there is one is promised."""

    queues: dict[str, list[bytes]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    paused: dict[str, str] = field(default_factory=dict)
    schedule: dict[bytes, float] = field(default_factory=dict)
    retry: dict[bytes, float] = field(default_factory=dict)
    dead: dict[bytes, float] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    owners: dict[str, InProgress] = field(default_factory=dict)
    beats: dict[str, float] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)
    spoiled: set[str] = field(default_factory=set)
    suspects: set[str] = field(default_factory=set)
    crashes: dict[str, int] = field(default_factory=dict)
    """Counts by their keys."""
    gone: list[str] = field(default_factory=list)
    """jids that left: done, discarded or trimmed from the dead set."""
    full: bool = False

    def push(self, queue: str, payloads: Sequence[bytes]) -> Refused | None:
        if self.full:
            return Refused("OOM")
        if KEYS.queue(queue) in self.spoiled:
            return Refused("WRONGTYPE")
        self._queue(queue).extend(payloads)
        self._know(queue)
        return None

    def push_later(self, entries: Sequence[tuple[float, bytes]]) -> Refused | None:
        if self.full:
            return Refused("OOM")
        if KEYS.schedule in self.spoiled:
            return Refused("WRONGTYPE")
        self.schedule.update((payload, at) for at, payload in entries)
        return None

    def register(self, owner: str, token: str, now: float) -> bool:
        if owner in self.owners:
            return self.owners[owner].token == token
        self.owners[owner] = InProgress(token)
        self.beats[owner] = now
        return True

    def beat(self, owner: str, now: float) -> bool:
        if owner not in self.owners or self.owners[owner].taken is not None:
            return False
        self.beats[owner] = now
        return True

    def leave(self, owner: str) -> bool:
        record = self.owners.get(owner)
        if record is not None and (record.batch or record.jobs):
            return False
        self._forget(owner)
        return True

    def answer(self, request: Request) -> Fenced | Resync | Settled | Taken | Refused:
        """Carry out a call of an owner, or say why not."""
        record = self.owners.get(request.owner)
        if record is None or record.taken is not None:
            return Fenced()
        if record.token == request.token:
            return self._answer_again(record, request)
        if record.token != request.expected:
            return Resync(record.token, list(record.batch), dict(record.jobs), record.call or 0)
        if self._hinders(request):
            return Refused("WRONGTYPE")
        closed, dropped, note = self._finish(record, request)
        record.token = request.token
        if request.kind == "fetch":
            jobs, trouble = self._take_jobs(record, request)
            return Taken(note or trouble, dropped, jobs, self._suspects_any(jobs))
        given, trouble, more = self._give_back(record, request, closed)
        return Settled(note or trouble, dropped + more, given)

    def _answer_again(self, record: InProgress, request: Request) -> Settled | Taken:
        if request.kind == "fetch":
            jobs = record.of_call(request.number)
            return Taken("", 0, jobs, self._suspects_any(jobs))
        return Settled("", 0)

    def _suspects_any(self, jobs: Sequence[Job]) -> bool:
        return bool(jobs) and (bool(self.suspects) or KEYS.suspects in self.spoiled)

    def _hinders(self, request: Request) -> bool:
        targets = {move.target for move in request.finished.moves}
        if "retry" in targets and KEYS.retry in self.spoiled:
            return True
        if "dead" in targets and KEYS.dead in self.spoiled:
            return True
        homeless = any(KEYS.queue(queue) in self.spoiled for _, queue, _ in request.back)
        return request.finished.close_batch and homeless and KEYS.dead in self.spoiled

    def _finish(self, record: InProgress, request: Request) -> tuple[bool, int, str]:
        finished, processed, failed, dropped = request.finished, 0, 0, 0
        closed = finished.close_batch and bool(record.batch)
        if closed:
            kept = {payload for _, payload in (self._split(value) for _, value in finished.stragglers)}
            kept |= {payload for name, _, payload in request.back if name == ""}
            moved = {jid_of(move.payload) for move in finished.moves if move.field == ""}
            done = [p for _, p in record.batch if p not in kept and jid_of(p) not in moved]
            self.gone += map(jid_of, done)
            processed += len(done)
            record.batch, record.call = [], None
            record.jobs.update((name, self._split(value)) for name, value in finished.stragglers)
        for name in finished.done:
            if (job := record.jobs.pop(name, None)) is not None:
                self.gone.append(jid_of(job[1]))
                processed += 1
        for move in finished.moves:
            if closed if move.field == "" else record.jobs.pop(move.field, None):
                dropped += self._move(move.target, move.score, move.payload, request.now)
                processed, failed = processed + move.processed, failed + move.failed
        return closed, dropped, self._count(request.now, processed, failed)

    def _split(self, value: bytes) -> Job:
        queue, _, payload = value.partition(b"\n")
        return queue.decode(), payload

    def _move(self, target: str, score: float, payload: bytes, now: float) -> int:
        if target == "retry":
            self.retry[payload] = score
        elif target == "dead":
            return self._bury(score, payload, now)
        else:
            self.gone.append(jid_of(payload))
        return 0

    def _count(self, now: float, processed: int, failed: int) -> str:
        note = ""
        for total, day, by in (
            (KEYS.stat_processed, KEYS.stat_processed_on(now), processed),
            (KEYS.stat_failed, KEYS.stat_failed_on(now), failed),
        ):
            for key in (total, day) if by else ():
                if key in self.spoiled:
                    note = "x"
                else:
                    self.counters[key] = self.counters.get(key, 0) + by
        return note

    def _bury(self, score: float, payload: bytes, now: float) -> int:
        self.dead[payload] = score
        by_rank = sorted(self.dead, key=lambda member: (self.dead[member], member))
        fresh = [member for member in by_rank if self.dead[member] >= now - LIMITS.timeout]
        kept = fresh[-LIMITS.max_jobs :]
        dropped = [member for member in by_rank if member not in kept]
        for member in dropped:
            del self.dead[member]
            self.gone.append(jid_of(member))
        return len(dropped)

    def _take_jobs(self, record: InProgress, request: Request) -> tuple[list[Job], str]:
        jobs: list[Job] = []
        asked = request.want > 0 and bool(request.queues)
        note = "x" if asked and KEYS.paused in self.spoiled else ""
        second_pass = [(queue, request.want) for queue, _ in request.queues]
        for queue, quota in (*request.queues, *second_pass):
            count = min(quota, request.want - len(jobs))
            if count <= 0 or (queue in self.paused and KEYS.paused not in self.spoiled):
                continue
            if KEYS.queue(queue) in self.spoiled:
                note = "x"
                continue
            waiting = self._queue(queue)
            taken, waiting[:] = waiting[:count], waiting[count:]
            jobs += [(queue, payload) for payload in taken]
        if jobs and request.mode == "batch" and not record.batch:
            record.batch, record.call = list(jobs), request.number
        else:
            record.jobs.update((f"{request.number}.{i}", job) for i, job in enumerate(jobs, 1))
        return jobs, note

    def _give_back(self, record: InProgress, request: Request, closed: bool) -> tuple[int, str, int]:
        given, note, dropped = 0, "", 0
        for name, queue, payload in request.back:
            nowhere = {KEYS.queue(queue), KEYS.dead} <= self.spoiled
            note = note or ("x" if nowhere else "")
            if nowhere or not (closed if name == "" else record.jobs.pop(name, None)):
                continue
            given += 1
            trouble, more = self._send_home(queue, payload, request.now)
            note, dropped = note or trouble, dropped + more
        return given, note, dropped

    def _send_home(self, queue: str, payload: bytes, now: float) -> tuple[str, int]:
        if KEYS.queue(queue) in self.spoiled:
            return "x", self._bury(now, payload, now)
        self._queue(queue).insert(0, payload)
        self._know(queue)
        return "", 0

    def take(self, owner: str, by: str, score: float | None) -> Takeover:
        if score is not None and self.beats.get(owner) != score:
            return Takeover("ALIVE")
        record = self.owners.get(owner)
        if record is None:
            self.beats.pop(owner, None)
            return Takeover("GONE")
        record.taken = record.taken or by
        queues = dict.fromkeys(queue for queue, _ in [*record.batch, *record.jobs.values()])
        return Takeover("TAKEN", sorted(queues))

    def unbatch(self, owner: str) -> int:
        record = self.owners.get(owner)
        if record is None or record.taken is None or not record.batch:
            return 0
        members = {f"{record.call}.{i}": job for i, job in enumerate(record.batch, 1)}
        record.jobs.update(members)
        record.batch, record.call = [], None
        return len(members)

    def recover(self, owner: str, limit: int, now: float, blames: Sequence[Blame] = ()) -> Recovered | Refused:
        record = self.owners.get(owner)
        if record is None:
            return Recovered(done=True)
        if record.taken is None:
            return Refused("ERR")
        blame_of = {blame.field: blame for blame in blames}
        moved, note, dropped, died = 0, "", 0, 0
        blamed: list[str] = []
        while moved < limit and (record.batch or record.jobs):
            newest = "" if record.batch else max(record.jobs, key=age)
            queue, payload = record.batch[-1] if record.batch else record.jobs[newest]
            blame = blame_of.get(newest)
            targets = {KEYS.dead} if blame and blame.dead else {KEYS.dead, KEYS.queue(queue)}
            if targets <= self.spoiled:
                return Refused("WRONGTYPE")
            if record.batch:
                record.batch.pop()
            else:
                del record.jobs[newest]
            if blame:
                blamed.append(newest)
                note = self._hold_against(blame, now) or note
            if blame and blame.dead:
                died, dropped = died + 1, dropped + self._bury(now, blame.dead, now)
            else:
                trouble, more = self._send_home(queue, payload, now)
                note, dropped = note or trouble, dropped + more
            moved += 1
        done = not record.batch and not record.jobs
        if done:
            self._forget(owner)
        return Recovered(done, moved - died, note, dropped, tuple(blamed))

    def _hold_against(self, blame: Blame, now: float) -> str:
        """A suspect has a count; a dead job has none, and is counted among the processed and the failed."""
        note = "x" if KEYS.suspects in self.spoiled else ""
        if blame.dead:
            self._acquit(blame.jid)
            return self._count(now, 1, 1) or note
        key = KEYS.host_crashes(blame.jid) if blame.host else KEYS.crashes(blame.jid)
        self.crashes[key] = self.crashes.get(key, 0) + 1
        if not note:
            self.suspects.add(blame.jid)
        return note

    def absolve(self, jid: str) -> bool | Refused:
        if KEYS.suspects in self.spoiled:
            return Refused("WRONGTYPE")
        found = jid in self.suspects
        self._acquit(jid)
        return found

    def _acquit(self, jid: str) -> None:
        if KEYS.suspects not in self.spoiled:
            self.suspects.discard(jid)
        for key in (KEYS.crashes(jid), KEYS.host_crashes(jid)):
            self.crashes.pop(key, None)

    def promote(
        self, source: Literal["schedule", "retry"], now: float, members: Sequence[tuple[bytes, str | None, bytes]]
    ) -> Promoted | Refused:
        if KEYS.dead in self.spoiled or getattr(KEYS, source) in self.spoiled:
            return Refused("WRONGTYPE")
        entries: dict[bytes, float] = getattr(self, source)
        promoted, buried, note, dropped = 0, 0, "", 0
        for member, queue, payload in members:
            if entries.get(member, now + 1) > now:
                continue
            del entries[member]
            if queue is not None and KEYS.queue(queue) not in self.spoiled:
                self._queue(queue).append(payload)
                self._know(queue)
                promoted += 1
            else:
                note = note or ("" if queue is None else "x")
                dropped += self._bury(now, member, now)
                buried += 1
        return Promoted(promoted, buried, note, dropped)

    def pause(self, queue: str, note: str) -> bool | Refused:
        if KEYS.paused in self.spoiled:
            return Refused("WRONGTYPE")
        if queue in self.paused:
            return False
        self.paused[queue] = note
        return True

    def resume(self, queue: str) -> bool | Refused:
        if KEYS.paused in self.spoiled:
            return Refused("WRONGTYPE")
        return self.paused.pop(queue, None) is not None

    def heartbeat(self, identity: str, busy: int) -> None:
        self.processes[identity] = busy

    def retire(self, identity: str) -> None:
        self.processes.pop(identity, None)

    def _forget(self, owner: str) -> None:
        self.owners.pop(owner, None)
        self.beats.pop(owner, None)

    def _queue(self, name: str) -> list[bytes]:
        return self.queues.setdefault(name, [])

    def _know(self, queue: str) -> None:
        if KEYS.queues not in self.spoiled:
            self.known.add(queue)

    def picture(self) -> dict[str, Held]:
        """Every key that Redis must hold, and nothing else."""
        out: dict[str, object] = {KEYS.queue(name): jobs[::-1] for name, jobs in self.queues.items() if jobs}
        out |= {key: str(value).encode() for key, value in self.counters.items()}
        for key, names in ((KEYS.queues, self.known), (KEYS.paused, set(self.paused))):
            out |= {key: frozenset(name.encode() for name in names)} if names else {}
        for key, entries in ((KEYS.schedule, self.schedule), (KEYS.retry, self.retry), (KEYS.dead, self.dead)):
            out |= {key: entries} if entries else {}
        if self.paused:
            out[KEYS.paused_by] = {name.encode(): note.encode() for name, note in self.paused.items()}
        if self.beats:
            out[KEYS.owners] = {owner.encode(): at for owner, at in self.beats.items()}
        for owner, record in self.owners.items():
            out[KEYS.jobs(owner)] = record.hash()
            out |= {KEYS.batch(owner): [payload for _, payload in record.batch]} if record.batch else {}
        out |= {key: str(count).encode() for key, count in self.crashes.items()}
        if self.suspects:
            out[KEYS.suspects] = frozenset(jid.encode() for jid in self.suspects)
        passing = {key for key in self.counters if key not in (KEYS.stat_processed, KEYS.stat_failed)}
        passing |= {KEYS.suspects, *self.crashes}
        drawn = {key: Held(value, key in passing) for key, value in out.items()} | self._views()
        drawn |= {ASIDE + key: drawn.pop(key) for key in self.spoiled if key in drawn}
        return drawn | {key: Held(SPOILED) for key in self.spoiled}

    def _views(self) -> dict[str, Held]:
        out: dict[str, Held] = {}
        for identity, busy in self.processes.items():
            out[KEYS.process(identity)] = Held({b"busy": str(busy).encode()}, expires=True)
            if busy:
                work = {str(thread).encode(): b"{}" for thread in range(busy)}
                out |= {key: Held(work, expires=True) for key in (KEYS.work(identity), KEYS.workers(identity))}
        if self.processes:
            out[KEYS.processes] = Held(frozenset(identity.encode() for identity in self.processes))
        return out
