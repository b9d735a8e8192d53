"""Which process is this, on which running system, and is a process that left a record still there?

A pid alone says little: it is reused, and two containers number theirs alike. So a record holds the boot of the
system, the namespace of its pids, and each process' start time.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class HostFacts:
    """A process, its master, and the system on which they run."""

    host: str
    boot: str
    pid_namespace: str
    pid: int
    start: str
    master_pid: int
    master_start: str

    def as_fields(self) -> dict[str, str]:
        """Fields of the owner's record."""
        return {
            "host": self.host,
            "boot": self.boot,
            "pid_namespace": self.pid_namespace,
            "pid": str(self.pid),
            "start": self.start,
            "master_pid": str(self.master_pid),
            "master_start": self.master_start,
        }


def hostname() -> str:
    """The name that identities begin with; Heroku's `DYNO` where it is set, as Sidekiq has it."""
    return os.environ.get("DYNO") or socket.gethostname()


def read_facts(master_pid: int) -> HostFacts:
    """Facts about this process and its master (itself, when it has none)."""
    return HostFacts(
        host=hostname(),
        boot=_boot(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        start=start_time(os.getpid()),
        master_pid=master_pid,
        master_start=start_time(master_pid),
    )


def is_gone(record: Mapping[str, str], here: HostFacts) -> bool:
    """Did the process of this record, and its master, end on this very system? False when it cannot be told."""
    if not here.boot or record.get("boot") != here.boot or record.get("pid_namespace") != here.pid_namespace:
        return False
    return all(_ended(record.get(pid, ""), record.get(start, "")) for pid, start in _PROCESSES)


_PROCESSES = (("pid", "start"), ("master_pid", "master_start"))


def _ended(pid: str, start: str) -> bool:
    if not pid.isdigit() or not start:
        return False
    found = start_time(int(pid))
    return found != start if found else not _is_hidden(int(pid))


def _is_hidden(pid: int) -> bool:
    """Is it there, but another user's, of which /proc (mounted with hidepid) shows nothing?"""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def start_time(pid: int) -> str:
    """When a process started, empty when there is none.

    On Linux in ticks since boot, as /proc/PID/stat has it (proc(5), field 22): psutil's time moves with the wall clock.
    """
    try:
        if Path("/proc/self/stat").exists():
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            state, *fields = stat.rpartition(")")[2].split()
            return "" if state in "ZX" else fields[18]
        return repr(psutil.Process(pid).create_time())
    except (OSError, psutil.Error):
        return ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(int(psutil.boot_time()))


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""
