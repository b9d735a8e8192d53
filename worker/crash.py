"""Whom the end of a process is held against, and what a job that caused too many of them says about it. Pure.

What the threads ran is known from outside; the counts are kept in Redis, by `recovery.py` and `recover.lua`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jobd.client import defaults
from jobd.client import payload as wire
from jobd.client.errors import MalformedPayload
from jobd.client.payload import Timestamps
from jobd.client.scripts import Blame
from jobd.worker.page import JID_BYTES
from jobd.worker.retry import with_failure

CRASHED = "jobd.Crashed"
"""Stored as the error of a job that is dead because of its crashes."""


@dataclass(frozen=True, slots=True)
class Crash:
    """How a process ended that nobody had asked to end."""

    cause: str
    """For people: "killed by SIGSEGV", "out of memory (SIGKILL)", "hung for 45 s", "exit code 5"."""
    jids: tuple[str, ...]
    """What its threads ran at that moment, as their page has it; only these jobs are to blame."""
    rss: int | None
    """Bytes of memory at the last reading, if there was one."""
    stacks: str
    """The dump of faulthandler, or ""."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """An owner whose process is known to have ended. Without `crash` it ended in order, and nobody is to blame."""

    owner: str
    why: str
    crash: Crash | None = None

    def as_json(self) -> str:
        """One line of JSON, as it travels from the master to a child."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Orphan:
        """The opposite of `as_json`. Raises ValueError, TypeError or KeyError for anything else."""
        given = json.loads(text)
        crash = given["crash"]
        if crash is not None:
            crash = Crash(crash["cause"], tuple(crash["jids"]), crash["rss"], crash["stacks"])
        return cls(given["owner"], given["why"], crash)


@dataclass(frozen=True, slots=True)
class Charge:
    """The end of a process, brought against jobs of its record: `limit` of them are the death of a job.

    With `host` nobody knows what ran, and each single job of the record is meant.
    """

    crash: Crash
    limit: int
    host: bool = False

    def names(self, jid: str) -> bool:
        """Is this one of the jobs to blame? One without a jid cannot be followed from run to run."""
        return bool(jid) and (self.host or as_noted(jid) in self.crash.jids)


@dataclass(frozen=True, slots=True)
class Accused:
    """A job of the record that a charge names."""

    field: str
    queue: str
    jid: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of it: `blame` for Redis, `crashes` it has with this one, and what its entry and the log say."""

    accused: Accused
    blame: Blame
    crashes: int
    error: str


def as_noted(jid: str) -> str:
    """A jid as a thread's place has it, which is short."""
    return jid.encode("utf-8", "replace")[:JID_BYTES].decode("utf-8", "ignore")


def jid_of(payload: bytes) -> str:
    """The jid in a job's bytes; "" when there is none."""
    try:
        return str(wire.decode(payload).get("jid") or "")
    except MalformedPayload:
        return ""


def accuse(record: Mapping[str, tuple[str, bytes]], charge: Charge) -> list[Accused]:
    """The jobs (field to source queue and bytes) that `charge` names: newest first, no more than go back in a call."""
    newest_first = sorted(record, key=_age, reverse=True)[: defaults.RECOVER_LIMIT]
    found = ((field, *record[field]) for field in newest_first)
    return [
        Accused(field, queue, jid, wire.decode(payload))
        for field, queue, payload in found
        if charge.names(jid := jid_of(payload))
    ]


def judge(
    accused: Accused, charge: Charge, *, before: int, host: str, now: float, timestamps: Timestamps = "s"
) -> Judgement:
    """Decide about a job that has crashed `before` times before. `host` is where, `now` epoch seconds."""
    crashes = before + 1
    error = _message(charge, crashes, host)
    if crashes < charge.limit:
        return Judgement(accused, Blame(accused.field, accused.jid, charge.host), crashes, error)
    entry = with_failure(
        accused.payload,
        error_class=CRASHED,
        message=error,
        backtrace=charge.crash.stacks[: defaults.MAX_STACKS].splitlines(),
        queue=accused.queue,
        now=now,
        timestamps=timestamps,
    )
    return Judgement(accused, Blame(accused.field, accused.jid, charge.host, wire.encode(entry)), crashes, error)


def _message(charge: Charge, crashes: int, host: str) -> str:
    crash, beside = charge.crash, len(charge.crash.jids) - 1
    details = [crash.cause]
    if host:
        details.append(f"on {host}")
    if crash.rss is not None:
        details.append(f"with {crash.rss / 2**20:.0f} MiB of memory")
    if beside > 0:
        details.append("beside another job" if beside == 1 else f"beside {beside} other jobs")
    what = "was lost with its host" if charge.host else "crashed"
    times = "once" if crashes == 1 else f"{crashes} times"
    return f"its process {what} {times} while it ran; the last time: {', '.join(details)}"


def _age(field: str) -> tuple[int, int]:
    call, _, index = field.partition(".")
    return int(call), int(index)
