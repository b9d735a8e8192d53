"""Jobs for tests with real processes. Each notes in the ledger, a file of lines `WHAT WHO PID`, what happens to it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import jobd

LEDGER = "JOBD_TEST_LEDGER"
"""The variable that names the ledger."""
RELEASE = "JOBD_TEST_RELEASE"
"""The variable that names a file; once it exists, jobs that hold end."""


def note(what: str, who: object) -> None:
    """Add a line to the ledger in one write."""
    fd = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{what} {who} {os.getpid()}\n".encode())
    finally:
        os.close(fd)


@jobd.job(name="quick")
def quick(number: int) -> None:
    """Ends at once."""
    note("ended", number)


@jobd.job(name="hold")
def hold(number: int) -> None:
    """Lasts until it is released."""
    note("began", number)
    while not Path(os.environ[RELEASE]).exists():
        threading.Event().wait(0.01)
    note("ended", number)


@jobd.job(name="last")
def last(seconds: float) -> None:
    """Lasts for a time."""
    note("began", seconds)
    threading.Event().wait(seconds)
    note("ended", seconds)


@jobd.job(name="spin")
def spin() -> None:
    """Never ends, and computes."""
    note("began", "spin")
    while True:
        pass


@jobd.job(name="block")
def block() -> None:
    """Does not end for an hour, and waits in C."""
    note("began", "block")
    time.sleep(3600)


@jobd.job(name="freeze")
def freeze() -> None:
    """Does not end for an hour, and lets no other thread of its process run."""
    note("began", "freeze")
    ctypes.PyDLL(None).sleep(3600)


@jobd.job(name="leave", retry=0)
def leave() -> None:
    """Tries to end its process as a program does."""
    note("began", "leave")
    sys.exit(3)


@jobd.job(name="vanish")
def vanish(code: int) -> None:
    """Ends its process at once, the first time."""
    ledger = Path(os.environ[LEDGER])
    again = ledger.exists() and f"began {code} " in ledger.read_text()
    note("began", code)
    if not again:
        os._exit(code)
    note("ended", code)


@jobd.job(name="shell")
def shell() -> None:
    """Runs another program, which inherits the standard input, and reads to its end."""
    done = subprocess.run(["sh", "-c", "cat; echo works"], stdout=subprocess.PIPE, text=True, check=True)
    note(done.stdout.strip(), os.readlink("/proc/self/fd/0"))
