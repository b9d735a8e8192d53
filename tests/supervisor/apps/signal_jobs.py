"""Jobs that have to do with signals. They note in the ledger what they find, as those of `ledger_jobs` do."""

from __future__ import annotations

import ctypes
import signal
import subprocess

from ledger_jobs import note

import jobd


@jobd.job(name="look_at_signals")
def look_at_signals() -> None:
    """Notes which signals a program that a job starts ignores and blocks, as hexadecimal masks."""
    done = subprocess.run(["cat", "/proc/self/status"], stdout=subprocess.PIPE, text=True, check=True)
    found = dict(line.split(":\t") for line in done.stdout.splitlines() if line.startswith("Sig"))
    note("ignored", found["SigIgn"])
    note("blocked", found["SigBlk"])


@jobd.job(name="segfault")
def segfault() -> None:
    """Ends its process as a defect in C does."""
    note("began", "segfault")
    ctypes.string_at(0)


@jobd.job(name="deaf")
def deaf() -> None:
    """Never ends, and has its process ignore that it is to stop."""
    ignored = ctypes.c_void_p(1)
    for number in (signal.SIGTERM, signal.SIGQUIT):
        ctypes.CDLL(None).signal(number, ignored)
    note("began", "deaf")
    while True:
        pass


@jobd.job(name="hold_the_lock")
def hold_the_lock(microseconds: int) -> None:
    """Lets no other thread of its process run for a time."""
    note("began", "hold_the_lock")
    ctypes.PyDLL(None).usleep(microseconds)
    note("ended", "hold_the_lock")
