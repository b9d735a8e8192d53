"""The operations on Redis: one typed function for each script in `lua/`, and the two ways to send them.

A function builds a `Call`, which does nothing by itself. `send` and `asend` carry it out on a connection
of redis-py; the worker's ledger sends the same value again, byte for byte, when a reply was lost.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

import msgspec
from hiredis import pack_command
from redis.exceptions import NoScriptError

from jobd.client import defaults
from jobd.client.errors import InvalidArguments
from jobd.client.keys import Keys

T = TypeVar("T")
Argument = str | bytes | int | float


@dataclass(frozen=True)
class Script:
    """Source of a script and the digest under which Redis knows it."""

    source: str
    sha: str


@cache
def load(name: str) -> Script:
    """The script `lua/NAME.lua` with its includes put in."""
    source = _read(name)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    text = (files("jobd.client") / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    return re.sub(r"^--- include (\w+)\n", lambda found: _read(found[1]), text, flags=re.MULTILINE)


class Call(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """One operation, ready to be sent. A struct of msgspec, since one is made for each push."""

    script: Script
    keys: Sequence[str | bytes]
    arguments: Sequence[Argument]
    parse: Callable[[Any], T]

    def by_digest(self) -> tuple[Argument, ...]:
        """The command for a server that has the script."""
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)

    def packed(self) -> bytes:
        """`by_digest` as it is sent. redis-py's own packer looks at each argument again before hiredis does."""
        command: Any = self.by_digest()  # hiredis declares a tuple of one element
        packed: bytes = pack_command(command)
        return packed

    def with_source(self) -> tuple[Argument, ...]:
        """The command for a server that does not have it yet."""
        return ("EVAL", self.script.source, len(self.keys), *self.keys, *self.arguments)


class Connection(Protocol):
    """The part of redis-py's connection that is used here."""

    def send_command(self, *arguments: Any, **options: Any) -> Any: ...
    def send_packed_command(self, command: Any) -> Any: ...
    def read_response(self) -> Any: ...


class AsyncConnection(Protocol):
    """The same of its asyncio twin."""

    async def send_command(self, *arguments: Any, **options: Any) -> Any: ...
    async def read_response(self) -> Any: ...


def send(connection: Connection, call: Call[T]) -> T:
    """Carry out `call` once.

    Raises redis-py's errors: `ResponseError` when Redis refused it, `ConnectionError` or `TimeoutError` when
    its outcome is unknown. A missing script was not run, so only that case is sent a second time.
    """
    try:
        connection.send_packed_command((call.packed(),))
        return call.parse(connection.read_response())
    except NoScriptError:
        connection.send_command(*call.with_source())
        return call.parse(connection.read_response())


async def asend(connection: AsyncConnection, call: Call[T]) -> T:
    """`send` for asyncio."""
    try:
        await connection.send_command(*call.by_digest())
        return call.parse(await connection.read_response())
    except NoScriptError:
        await connection.send_command(*call.with_source())
        return call.parse(await connection.read_response())


def _nothing(_: Any) -> None:
    return None


def push_now(keys: Keys, queue: str, payloads: Sequence[bytes]) -> Call[None]:
    """Put up to 1,000 jobs into one queue; for many of them `pipeline.push_many` costs Redis half as much."""
    return Call(load("push"), [keys.queues, keys.queue(queue)], [queue, *payloads], _nothing)


def push_later(keys: Keys, entries: Sequence[tuple[float, bytes]]) -> Call[None]:
    """Put up to 1,000 jobs into the scheduled set, each with its time (epoch seconds)."""
    arguments = [value for at, payload in entries for value in (repr(float(at)), payload)]
    return Call(load("schedule"), [keys.schedule], arguments, _nothing)


@dataclass(frozen=True, slots=True)
class DeadLimits:
    """Limits of the dead set: entries kept, and seconds for which they are kept."""

    max_jobs: int = defaults.DEAD_MAX_JOBS
    timeout: float = defaults.DEAD_TIMEOUT

    def arguments(self, now: float) -> tuple[Argument, Argument]:
        """Oldest score that stays, and the number of entries."""
        return repr(now - self.timeout), self.max_jobs


@dataclass(frozen=True, slots=True)
class Move:
    """A finished job that enters `retry` or `dead`, or with target `""` only leaves and is counted.

    `field` names its record, `""` stands for a member of the open batch. `score` is epoch seconds.
    """

    field: str
    target: Literal["", "retry", "dead"]
    score: float
    payload: bytes
    processed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Finished:
    """What a call acknowledges.

    With `close_batch` the open batch goes as a whole: `batch_done` of its members succeeded, `stragglers` still run
    and are kept as single jobs (field, value). `done` are fields of single jobs that succeeded.
    """

    close_batch: bool = False
    batch_done: int = 0
    stragglers: Sequence[tuple[str, bytes]] = ()
    done: Sequence[str] = ()
    moves: Sequence[Move] = ()

    def arguments(self) -> list[Argument]:
        """In the order in which `_finish.lua` reads them."""
        out: list[Argument] = [int(self.close_batch), self.batch_done, len(self.stragglers)]
        for name, value in self.stragglers:
            out += (name, value)
        out += (len(self.done), *self.done, len(self.moves))
        for m in self.moves:
            out += (m.field, m.target, repr(m.score), m.payload, m.processed, m.failed)
        return out


@dataclass(frozen=True, slots=True)
class Record:
    """The in-progress record of one owner: where a call looks, and the two tokens that fence it."""

    keys: Keys
    owner: str
    expected: str
    token: str
    now: float
    limits: DeadLimits = field(default_factory=DeadLimits)

    def _keys(self) -> list[str]:
        k = self.keys
        counters = [k.stat_processed, k.stat_failed, k.stat_processed_on(self.now), k.stat_failed_on(self.now)]
        return [k.jobs(self.owner), k.batch(self.owner), k.retry, k.dead, *counters]

    def _arguments(self, finished: Finished) -> list[Argument]:
        limits = self.limits.arguments(self.now)
        return [self.expected, self.token, *limits, defaults.STAT_TTL, *finished.arguments()]


@dataclass(frozen=True, slots=True)
class Fenced:
    """The record is gone or taken: this owner may change nothing any more."""


@dataclass(frozen=True, slots=True)
class Resync:
    """The server does not know the last calls. `token` is the one that it holds.

    `batch` pairs each member of the open batch with its source queue, in the order in which the call numbered
    `batch_call` took them [0: none is open]. `jobs` maps fields to (queue, payload).
    """

    token: str
    batch: Sequence[tuple[str, bytes]]
    jobs: Mapping[str, tuple[str, bytes]]
    batch_call: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """The call was carried out. `note` says what is wrong with a key, if anything; `dropped` left the dead set."""

    note: str
    dropped: int
    given_back: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """The call was carried out, and these jobs are its owner's now: (source queue, original bytes), in order."""

    note: str
    dropped: int
    jobs: Sequence[tuple[str, bytes]]
    suspects: bool = False
    """Some jid in Redis is suspected of crashing its process; False without jobs."""
    runs: Sequence[tuple[str, int]] = field(default=(), compare=False)
    """How many of them came from which queue, one after the other."""


def _pair_runs(runs: Sequence[Any], payloads: Sequence[bytes]) -> list[tuple[str, bytes]]:
    queues: list[str] = []
    for i in range(0, len(runs), 2):
        queues += [_text(runs[i])] * int(runs[i + 1])
    return list(zip(queues, payloads, strict=True))


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def split_value(value: bytes) -> tuple[str, bytes]:
    """Source queue and original bytes of a single job's record."""
    queue, _, payload = value.partition(b"\n")
    return _text(queue), payload


def join_value(queue: str, payload: bytes) -> bytes:
    """The record of a single job."""
    return queue.encode() + b"\n" + payload


def _refusal(reply: Sequence[Any]) -> Fenced | Resync | None:
    if reply[0] == b"FENCED":
        return Fenced()
    if reply[0] == b"RESYNC":
        _, token, runs, members, record = reply
        fields = dict(zip(map(_text, record[::2]), record[1::2], strict=True))
        jobs = {name: split_value(value) for name, value in fields.items() if is_job_field(name)}
        call, *counts = _text(runs).split("\n")
        return Resync(_text(token), _pair_runs(counts, members), jobs, int(call or 0))
    return None


def is_job_field(name: str) -> bool:
    """Is this field of a record a single job, `<call>.<index>`?"""
    return re.fullmatch(r"\d+\.\d+", name) is not None


def _settled(reply: Sequence[Any]) -> Fenced | Resync | Settled:
    return _refusal(reply) or Settled(_text(reply[1]), int(reply[2]), int(reply[3]) if len(reply) > 3 else 0)


def _taken(reply: Sequence[Any]) -> Fenced | Resync | Taken:
    if refusal := _refusal(reply):
        return refusal
    _, note, dropped, runs, payloads, suspects = reply
    counts = [(_text(runs[i]), int(runs[i + 1])) for i in range(0, len(runs), 2)]
    return Taken(_text(note), int(dropped), _pair_runs(runs, payloads), bool(suspects), counts)


def ack(record: Record, finished: Finished) -> Call[Fenced | Resync | Settled]:
    """Acknowledge finished jobs."""
    return Call(load("ack"), record._keys(), record._arguments(finished), _settled)


def fetch(
    record: Record,
    finished: Finished,
    *,
    call: int,
    want: int,
    mode: Literal["batch", "single"],
    queues: Sequence[tuple[str, int]],
) -> Call[Fenced | Resync | Taken]:
    """Acknowledge finished jobs and take up to `want` (at most 1,000) from `queues`, tried in their order.

    Each comes with a quota: what it gives at most before the others were asked. A second pass over them, without
    quotas, makes up for those that had less.
    """
    own = [*record._keys(), record.keys.paused, record.keys.suspects]
    arguments = [*record._arguments(finished), call, want, mode, len(queues)]
    for pair in queues:
        arguments += pair
    return Call(load("fetch"), [*own, *(record.keys.queue(name) for name, _ in queues)], arguments, _taken)


def settle(
    record: Record, finished: Finished, give_back: Sequence[tuple[str, str, bytes]]
) -> Call[Fenced | Resync | Settled]:
    """Acknowledge finished jobs and give others back: (field, source queue, original bytes), last fetched first."""
    queues = list(dict.fromkeys(queue for _, queue, _ in give_back))
    place = {queue: i for i, queue in enumerate(queues, 1)}
    arguments: list[Argument] = [*record._arguments(finished), repr(record.now), len(queues), *queues, len(give_back)]
    for name, queue, payload in give_back:
        arguments += (name, place[queue], payload)
    keys = [*record._keys(), record.keys.queues, *map(record.keys.queue, queues)]
    return Call(load("settle"), keys, arguments, _settled)


def register(keys: Keys, owner: str, token: str, now: float, facts: Mapping[str, str]) -> Call[bool]:
    """Enter a new owner with facts about its host. False: the name is in use."""
    arguments = [owner, token, repr(now), *(value for pair in facts.items() for value in pair)]
    return Call(load("register"), [keys.jobs(owner), keys.owners], arguments, bool)


def beat(keys: Keys, owner: str, now: float) -> Call[bool]:
    """Renew an owner's lease. False: it is fenced."""
    return Call(load("beat"), [keys.jobs(owner), keys.owners], [owner, repr(now)], bool)


def leave(keys: Keys, owner: str) -> Call[bool]:
    """Remove an owner that has nothing in progress. False: jobs are left, recovery will give them back."""
    return Call(load("leave"), [keys.jobs(owner), keys.batch(owner), keys.owners], [owner], bool)


@dataclass(frozen=True, slots=True)
class Takeover:
    """Answer of `take`: the owner beat in the meantime, has no record, or is ours to recover from these queues."""

    state: Literal["ALIVE", "GONE", "TAKEN"]
    queues: Sequence[str] = ()


def _takeover(reply: Sequence[Any]) -> Takeover:
    state: Any = _text(reply[0])
    return Takeover(state, [_text(queue) for queue in reply[1]] if len(reply) > 1 else ())


def take(keys: Keys, owner: str, by: str, score: float | None) -> Call[Takeover]:
    """Begin the recovery of `owner`. `score`: the beat that the directory must still show; None: any."""
    expected = "" if score is None else repr(score)
    return Call(load("take"), [keys.jobs(owner), keys.batch(owner), keys.owners], [owner, by, expected], _takeover)


def unbatch(keys: Keys, owner: str) -> Call[int]:
    """Make the members of the batch of an owner that `take` has marked single jobs; answers how many."""
    return Call(load("unbatch"), [keys.jobs(owner), keys.batch(owner)], [], int)


@dataclass(frozen=True, slots=True)
class Blame:
    """A single job in progress that the end of its process is held against.

    With `dead` these bytes go to the dead set instead of the job to its queue, and its counts end. Else one more crash
    counts, or with `host` one more loss of a host.
    """

    field: str
    jid: str
    host: bool = False
    dead: bytes = b""


@dataclass(frozen=True, slots=True)
class Recovered:
    """One step of a recovery: `done` when nothing is left. `blamed` are fields, also of jobs that are dead now."""

    done: bool
    given_back: int = 0
    note: str = ""
    dropped: int = 0
    blamed: Sequence[str] = ()


def _recovered(reply: Sequence[Any]) -> Recovered:
    if reply[0] == b"GONE":
        return Recovered(done=True)
    state, given_back, note, dropped, blamed = reply
    return Recovered(state == b"DONE", int(given_back), _text(note), int(dropped), tuple(map(_text, blamed)))


def recover(
    keys: Keys,
    owner: str,
    queues: Sequence[str],
    now: float,
    limits: DeadLimits,
    *,
    blames: Sequence[Blame] = (),
    limit: int = defaults.RECOVER_LIMIT,
) -> Call[Recovered]:
    """Give back up to `limit` jobs of an owner that `take` has marked; `queues` are those that `take` named."""
    counters = [keys.stat_processed, keys.stat_failed, keys.stat_processed_on(now), keys.stat_failed_on(now)]
    own = [keys.jobs(owner), keys.batch(owner), keys.owners, keys.queues, keys.dead, *counters, keys.suspects]
    own += map(keys.queue, queues)
    arguments: list[Argument] = [owner, limit, repr(now), *limits.arguments(now)]
    arguments += (defaults.STAT_TTL, defaults.CRASH_TTL, len(queues), *queues)
    for blame in blames:
        counts = keys.crashes(blame.jid), keys.host_crashes(blame.jid)
        own += reversed(counts) if blame.host else counts
        arguments += (blame.field, blame.jid, blame.dead)
    return Call(load("recover"), own, arguments, _recovered)


def absolve(keys: Keys, jid: str) -> Call[bool]:
    """Forget the crashes of a job that has come to an end. False: there were none."""
    return Call(load("absolve"), [keys.suspects, keys.crashes(jid), keys.host_crashes(jid)], [jid], bool)


@dataclass(frozen=True, slots=True)
class Promoted:
    """What became of due members. `note` is empty, or says what is wrong with a key."""

    promoted: int
    buried: int
    note: str
    dropped: int


def _promoted(reply: Sequence[Any]) -> Promoted:
    return Promoted(int(reply[0]), int(reply[1]), _text(reply[2]), int(reply[3]))


def promote(
    keys: Keys,
    source: str,
    now: float,
    members: Sequence[tuple[bytes, str | None, bytes]],
    limits: DeadLimits,
) -> Call[Promoted]:
    """Move due members of `source` (the key of `schedule` or `retry`): (member, queue, bytes to push).

    Without a queue the member is no job and goes to `dead` as it is.
    """
    queues = list(dict.fromkeys(queue for _, queue, _ in members if queue is not None))
    place = {queue: i for i, queue in enumerate(queues, 1)}
    arguments: list[Argument] = [repr(now), *limits.arguments(now), len(queues), *queues]
    for member, queue, payload in members:
        arguments += (member, 0 if queue is None else place[queue], payload)
    return Call(load("promote"), [source, keys.dead, keys.queues, *map(keys.queue, queues)], arguments, _promoted)


def heartbeat(
    keys: Keys, identity: str, ttl: int, fields: Mapping[str, Argument], work: Mapping[str, bytes]
) -> Call[list[str]]:
    """Show a process and its running jobs (thread id to JSON) for `ttl` seconds; returns the signals sent to it."""
    own = [keys.process(identity), keys.work(identity), keys.workers(identity), keys.processes]
    arguments: list[Argument] = [identity, ttl, len(fields)]
    for item in fields.items():
        arguments += item
    arguments.append(len(work))
    for thread, job in work.items():
        arguments += (thread, job)
    return Call(load("heartbeat"), [*own, keys.signals(identity)], arguments, lambda reply: [_text(s) for s in reply])


def retire(keys: Keys, identity: str) -> Call[None]:
    """Take a process that has ended out of the views, and end its promoting lease."""
    own = [keys.process(identity), keys.work(identity), keys.workers(identity), keys.processes, keys.scheduler]
    return Call(load("retire"), own, [identity], _nothing)


def lacking(needed: Mapping[str, str]) -> Call[list[str]]:
    """Which commands the user of this connection may not run: `needed` names those for each key, with spaces between.

    Answers `COMMAND key` for each; nothing on servers before 7.0, which cannot tell.
    """
    arguments = [text for pair in needed.items() for text in pair]
    return Call(load("lacking"), [], arguments, lambda reply: list(map(_text, reply)))


def lead(keys: Keys, identity: str, ttl: float, sources: Sequence[str]) -> Call[list[float] | float]:
    """Hold, renew or win the promoting lease for `ttl` seconds; a number of seconds: another holds it for so long.

    Whoever holds it gets the time of the first job of each of `sources`, sorted sets: infinite when it is empty, minus
    infinite when it cannot be read.
    """
    return Call(load("lead"), [keys.scheduler, *sources], [identity, int(ttl * 1000)], _firsts)


def _firsts(reply: Sequence[bytes] | int) -> list[float] | float:
    return reply / 1000 if isinstance(reply, int) else [float(first) for first in reply]


def raw_bytes(text: str) -> bytes:
    """A name that somebody has read from Redis as it stands there, also when it is no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def pause(keys: Keys, queue: str, note: str) -> Call[bool]:
    """Stop the fetching of a queue everywhere. False: it was paused already."""
    return Call(load("pause"), [keys.paused, keys.paused_by], [raw_bytes(queue), note], bool)


def resume(keys: Keys, queue: str) -> Call[bool]:
    """Let a paused queue be fetched again. False: it was not paused."""
    return Call(load("resume"), [keys.paused, keys.paused_by], [raw_bytes(queue)], bool)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of entries that somebody moved by hand: `gone` ones had been moved by others before.

    `dropped` left the dead set by its limits; `note` is empty, or says which entries stayed where they were.
    """

    moved: int
    gone: int
    dropped: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Struck:
    """How many jobs were removed from a queue, and which of those given did not stand where they were looked for."""

    moved: int
    missing: tuple[int, ...] = ()


def requeue(keys: Keys, source: str, members: Sequence[tuple[bytes, str, bytes]]) -> Call[Moved]:
    """Move up to 300 members of `source`, a sorted set's key, into queues now: (member, queue, bytes to push)."""
    queues = list(dict.fromkeys(queue for _, queue, _ in members))
    place = {queue: i for i, queue in enumerate(queues, 1)}
    arguments: list[Argument] = [len(queues), *map(raw_bytes, queues)]
    for member, queue, payload in members:
        arguments += (member, place[queue], payload)
    own: list[str | bytes] = [source, keys.queues, *(raw_bytes(keys.queue(queue)) for queue in queues)]
    return Call(load("requeue"), own, arguments, lambda reply: Moved(int(reply[0]), int(reply[1]), 0, _text(reply[2])))


def _moved(reply: Sequence[Any]) -> Moved:
    moved, gone, dropped = map(int, reply)
    return Moved(moved, gone, dropped)


def bury(keys: Keys, source: str, members: Sequence[bytes], now: float, limits: DeadLimits) -> Call[Moved]:
    """Move up to 300 members of `source`, a sorted set's key, into the dead set as they are."""
    return Call(load("bury"), [source, keys.dead], [repr(now), *limits.arguments(now), *members], _moved)


def pluck(keys: Keys, queue: str, payload: bytes, now: float, limits: DeadLimits) -> Call[Moved]:
    """Move one job out of a queue into the dead set as it is."""
    own: list[str | bytes] = [raw_bytes(keys.queue(queue)), keys.dead]
    return Call(load("pluck"), own, [repr(now), *limits.arguments(now), payload], _moved)


def replace(source: str, member: bytes, payload: bytes, score: float | None = None) -> Call[bool]:
    """Give a member of `source`, a sorted set's key, other bytes and, if given, another score. False: it is gone."""
    return Call(load("replace"), [source], [member, payload, "" if score is None else repr(score)], bool)


def edit(keys: Keys, place: str | bytes, member: tuple[bytes, bytes], queue: str, payload: bytes) -> Call[bool]:
    """Push a job made of a member of `place`, the key of a queue or a sorted set. False: it is gone, nothing is pushed.

    `member` is (its bytes, its bytes from now on), the second empty to remove it.
    """
    own: list[str | bytes] = [place, keys.queues, keys.queue(queue)]
    return Call(load("edit"), own, [*member, queue, payload], bool)


def spread(
    keys: Keys, source: str, members: Sequence[tuple[bytes, bytes, float]], target: str | None = None
) -> Call[Moved]:
    """Give up to 300 members of `source`, a sorted set's key, a place in `target` [retry]: (member, bytes, time).

    Raises `InvalidArguments` for a time that is not finite.
    """
    if wrong := [at for *_, at in members if not math.isfinite(at)]:
        raise InvalidArguments(f"the time is {wrong[0]!r}; give epoch seconds")
    arguments = [value for member, payload, at in members for value in (member, payload, repr(at))]
    own = [source, target or keys.retry]
    return Call(load("spread"), own, arguments, lambda reply: Moved(int(reply[0]), int(reply[1])))


def strike(keys: Keys, queue: str, mark: bytes, window: tuple[int, int], payloads: Sequence[bytes]) -> Call[Struck]:
    """Remove up to 300 jobs from a queue in one pass.

    They are looked for in a `window`: after how many jobs from the tail on it begins, how many it holds. `mark` are
    bytes that no job has, others for each call.
    """
    own: list[str | bytes] = [raw_bytes(keys.queue(queue))]
    arguments: list[Argument] = [mark, *window, *payloads]
    return Call(load("strike"), own, arguments, _read_struck)


def discard(source: str, trash: str, members: Sequence[bytes]) -> Call[Moved]:
    """Remove up to 300 members of `source`, a sorted set's key, into the sorted set `trash`, with their scores."""
    arguments: list[Argument] = [defaults.TRASH_TTL, *members]
    return Call(load("discard"), [source, trash], arguments, lambda reply: Moved(int(reply[0]), int(reply[1])))


def toss(
    keys: Keys, queue: str, trash: str, mark: bytes, window: tuple[int, int], jobs: Sequence[tuple[bytes, int]]
) -> Call[Struck]:
    """As `strike`, into the sorted set `trash`: (bytes, how many are taken before it)."""
    own: list[str | bytes] = [raw_bytes(keys.queue(queue)), trash]
    arguments: list[Argument] = [mark, *window, defaults.TRASH_TTL]
    return Call(load("toss"), own, arguments + [value for pair in jobs for value in pair], _read_struck)


def shift(
    keys: Keys,
    queue: str,
    target: str,
    end: Literal["front", "back"],
    mark: bytes,
    window: tuple[int, int],
    jobs: Sequence[tuple[bytes, bytes]],
) -> Call[Struck]:
    """Move up to 300 jobs of a queue to an end of `target`, perhaps itself, in one pass: (bytes, bytes to push).

    The next to be taken come first. `mark` and `window` are those of `strike`.
    """
    own: list[str | bytes] = [raw_bytes(keys.queue(queue)), raw_bytes(keys.queue(target)), keys.queues]
    arguments: list[Argument] = [mark, *window, raw_bytes(target), end]
    return Call(load("shift"), own, arguments + [value for pair in jobs for value in pair], _read_struck)


def push_copies(keys: Keys, queue: str, payloads: Sequence[bytes]) -> Call[None]:
    """Put up to 1,000 jobs into one queue, whatever bytes its name has."""
    name = raw_bytes(queue)
    return Call(load("push"), [keys.queues, raw_bytes(keys.queue(queue))], [name, *payloads], _nothing)


def _read_struck(reply: Sequence[int]) -> Struck:
    moved, *missing = map(int, reply)
    return Struck(moved, tuple(place - 1 for place in missing))


def clear(keys: Keys, queue: str) -> Call[int]:
    """Remove a queue with all its jobs; answers how many."""
    return Call(load("clear"), [raw_bytes(keys.queue(queue)), keys.queues], [raw_bytes(queue)], int)


CronClaim = Literal["tick", "late", "hand"]
"""How a tick is claimed: by being the first to enter it, by being the first to come so far, not at all."""
CronOutcome = Literal["PUSHED", "NOTED", "OVERLAP", "SKIPPED", "TAKEN", "CHANGED"]


@dataclass(frozen=True, slots=True)
class CronPush:
    """The job that a tick pushes: `hold` is for how many seconds it keeps the next one of its entry, 0 for not at all.

    `history` is what `jid_history` gets, `enqueue_time` the time of the push as the entry holds it.
    """

    queue: str
    payload: bytes
    jid: str
    hold: float
    history: bytes
    enqueue_time: str


def cron_tick(
    keys: Keys,
    name: str,
    claim: CronClaim,
    tick: tuple[str, float],
    now: float,
    push: CronPush | None,
    *,
    runs: tuple[bytes, bytes, bytes],
    expected: Mapping[str, str],
) -> Call[CronOutcome]:
    """Claim one tick of an entry (its name and time) and push its job, or with None only note that it is not run.

    `runs` are what the list of runs gets, and what it gets instead when the last job has not ended, and when the tick
    was to be skipped. The fields `expected` must be as the caller has read them.
    """
    job = push or CronPush(defaults.QUEUE, b"", "", 0.0, b"", "")
    own = [keys.cron_entry(name), keys.cron_enqueued(name), keys.cron_history(name), keys.cron_runs(name)]
    arguments: list[Argument] = [claim, tick[0], repr(tick[1]), repr(now - defaults.CRON_GRACE)]
    arguments += (repr(now - defaults.CRON_REMEMBER), defaults.CRON_HISTORY, defaults.CRON_RUNS, defaults.CRON_RUNS_TTL)
    arguments += (job.queue, job.payload, job.jid, int(job.hold * 1000), job.enqueue_time, job.history, *runs)
    for field_name, value in expected.items():
        arguments += (field_name, value.encode("utf-8", "surrogateescape"))
    every = [*own, keys.cron_running(name), keys.queues, keys.queue(job.queue)]
    return Call(load("cron_tick"), every, arguments, _cron_outcome)


def _cron_outcome(reply: Any) -> CronOutcome:
    return cast("CronOutcome", _text(reply))


def cron_save(
    keys: Keys, name: str, last_tick: str, now: float, status: str, cron: str, fields: Mapping[str, str]
) -> Call[bool]:
    """Write an entry with its expression and other fields; `status` "" leaves it as it is. True: it is a new one."""
    arguments = [last_tick, repr(now), status, cron, *(value for pair in fields.items() for value in pair)]
    own = [keys.cron_jobs, keys.cron_entry(name), keys.cron_enqueued(name)]
    return Call(load("cron_save"), own, arguments, bool)


def cron_edit(
    keys: Keys,
    name: str,
    last_tick: str,
    now: float,
    status: str,
    cron: str,
    fields: Mapping[str, str],
    expected: Mapping[str, str],
) -> Call[bool]:
    """The same, if the entry has the fields `expected`; without any, if there is none. False: somebody was faster."""
    arguments = [str(len(expected)), *(value for pair in expected.items() for value in pair)]
    arguments += [last_tick, repr(now), status, cron, *(value for pair in fields.items() for value in pair)]
    own = [keys.cron_jobs, keys.cron_entry(name), keys.cron_enqueued(name)]
    return Call(load("cron_edit"), own, [raw_bytes(each) for each in arguments], bool)


def cron_change(keys: Keys, name: str, last_tick: str, now: float, fields: Mapping[str, str]) -> Call[bool]:
    """Set fields of an entry. False: there is none. With a `last_tick` its ticks begin anew."""
    arguments = [last_tick, repr(now), *(value for pair in fields.items() for value in pair)]
    own = [keys.cron_entry(name), keys.cron_enqueued(name)]
    return Call(load("cron_change"), own, arguments, bool)


def cron_skip(keys: Keys, name: str, tick: tuple[str, float], cron: str) -> Call[bool]:
    """Have one tick of an entry (its name and time) skipped. False: it is none of `cron`, not to come, or taken."""
    own = [keys.cron_entry(name), keys.cron_enqueued(name)]
    return Call(load("cron_skip"), own, [tick[0], repr(tick[1]), cron.encode("utf-8", "surrogateescape")], bool)


def cron_hold(keys: Keys, name: str, jid: str, seconds: float) -> Call[bool]:
    """Have a job keep the next one of its entry for `seconds` more, 0: not any more. False: another one does."""
    return Call(load("cron_hold"), [keys.cron_running(name)], [jid, int(seconds * 1000)], bool)


def cron_note(keys: Keys, name: str, run: bytes, ended: bytes) -> Call[bool]:
    """Put `ended` in the place of a run of an entry. False: that is not there any more, or not as it was read."""
    return Call(load("cron_note"), [keys.cron_runs(name)], [run, ended, defaults.CRON_RUNS], bool)
