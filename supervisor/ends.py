"""How a worker process ended: why, in words for people, and whether the jobs it ran are to blame.

Only judges. Whom to kill, what to start in its place and what becomes of the jobs is for the master and recovery.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobd.supervisor import exits, memory_cgroup

Reason = Literal["clean", "crash", "signal", "oom", "hang", "recycle_memory", "recycle_jobs", "boot_timeout"]
Killing = Literal["hang", "boot_timeout", "late"]
Recycling = Literal["memory", "jobs"]

_ORDERLY = (exits.OK, exits.RECYCLED, exits.INTERRUPTED_TWICE, exits.QUIT)
_OWN_TROUBLE = {
    exits.CHILDREN_CANNOT_BOOT: "it could not start, or met a defect of jobd",
    exits.PARENT_LOST: "it took its master for dead",
}
_REPLACED: dict[Recycling, tuple[Reason, str]] = {
    "memory": ("recycle_memory", "replaced, as it needed more memory than max_memory"),
    "jobs": ("recycle_jobs", "replaced, as it had run max_jobs jobs"),
}
_STOPPING = (signal.SIGTERM, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class End:
    """The end of a worker process."""

    reason: Reason
    """For figures: one of a few words. A process that the master killed since it stopped too slowly is a `signal`."""
    cause: str
    """For people; names the signal if there was one."""
    blames: bool
    """Whether the jobs that it was running count a crash."""


def judge(
    status: int,
    *,
    asked: bool,
    master_killed_for: Killing | None,
    recycled_for: Recycling | None,
    oom_kills: int | None,
    limit: float | None = None,
) -> End:
    """Judge the end of a process from the `status` that waitpid gave.

    `asked` says that the master or a user had told it to stop, `master_killed_for` why the master has sent it ABRT or
    KILL, `recycled_for` why it was to make room for a fresh process. `oom_kills` is what `OomCounter` told of the time
    in which it died. `limit` is the number of seconds that it was killed for exceeding, to be named in the cause.
    """
    if not os.WIFSIGNALED(status):
        return _exited(os.waitstatus_to_exitcode(status), asked, recycled_for)
    number = os.WTERMSIG(status)
    if master_killed_for and number in (signal.SIGABRT, signal.SIGKILL):
        return _killed_by_master(master_killed_for, number, limit)
    if number == signal.SIGKILL:
        return _killed_by_others(oom_kills)
    if number in _STOPPING and (asked or recycled_for):
        return End("signal", f"killed by {_name(number)}, which should have stopped it in order", False)
    dump = " (core dumped)" if os.WCOREDUMP(status) else ""
    return End("signal", f"killed by {_name(number)}{dump}", True)


def _exited(code: int, asked: bool, recycled_for: Recycling | None) -> End:
    if recycled_for and code in _ORDERLY:
        reason, cause = _REPLACED[recycled_for]
        return End(reason, f"exit code {code}: {cause}", False)
    if asked and code in _ORDERLY:
        return End("clean", f"exit code {code}", False)
    if code in _OWN_TROUBLE:
        return End("crash", f"exit code {code}: {_OWN_TROUBLE[code]}", False)
    # A job that ends its process with 0 kills the jobs beside it no less than one that ends it with 5.
    return End("crash", f"exit code {code}" + (", which nobody asked for" if code in _ORDERLY else ""), True)


def _killed_by_master(why: Killing, number: int, limit: float | None) -> End:
    within = "in time" if limit is None else f"within {limit:g} s"
    if why == "hang":
        silence = "" if limit is None else f" for {limit:g} s"
        return End("hang", f"hung: no sign of life{silence}; killed by {_name(number)}", True)
    if why == "boot_timeout":
        return End("boot_timeout", f"it was not ready {within} of its start; killed by {_name(number)}", False)
    return End("signal", f"it did not stop {within}; killed by {_name(number)}", False)


def _killed_by_others(oom_kills: int | None) -> End:
    if oom_kills:
        return End("oom", "out of memory, by the kernel (SIGKILL)", True)
    if oom_kills == 0:
        return End("signal", "killed by SIGKILL, by another program; the kernel counts no lack of memory", True)
    return End("signal", "killed by SIGKILL, by another program or the kernel; perhaps out of memory", True)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have no name
        return f"signal {number}"


class OomCounter:
    """Tells how many processes the kernel killed for lack of memory in the cgroup of this process, children included.

    It counts whatever is in the group, as programs that jobs start. To be asked once in each round in which children
    are found dead, and before the ends of that round are judged: several may have died of the same lack.
    """

    def __init__(self, proc: Path = memory_cgroup.PROC) -> None:
        self._group = memory_cgroup.find(proc)
        self._last = self._total()

    def kills_since_last(self) -> int | None:
        """Kills since the last call, or since the start; None where the kernel does not tell."""
        total, before = self._total(), self._last
        if total is None:
            return None
        self._last = total
        return None if before is None else max(0, total - before)

    def _total(self) -> int | None:
        return self._group.oom_kills() if self._group else None
