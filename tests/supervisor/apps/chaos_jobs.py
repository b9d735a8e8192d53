"""Jobs whose every beginning and end is in the ledger, for tests in which their processes are killed at any moment."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import jobd
from jobd.worker import log

LEDGER = "JOBD_TEST_LEDGER"
"""The variable that names the ledger, a file of lines `WHAT NUMBER PID …`."""


def note(what: str, *words: object) -> None:
    """Add a line to the ledger in one write."""
    fd = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{' '.join(map(str, (what, *words)))} {os.getpid()}\n".encode())
    finally:
        os.close(fd)


@jobd.job(name="chaos_quick")
def quick(number: int) -> None:
    """Ends at once."""
    note("began", number)
    note("ended", number)


@jobd.job(name="chaos_slow")
def slow(number: int) -> None:
    """Lasts up to a second."""
    note("began", number)
    threading.Event().wait(number % 100 / 100)
    note("ended", number)


@jobd.job(name="chaos_flaky")
def flaky(number: int) -> None:
    """Fails the first time, and works the next."""
    note("began", number)
    try:
        os.close(os.open(f"{os.environ[LEDGER]}.{number}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        note("ended", number)
    else:
        note("failed", number)
        raise RuntimeError("the first time always fails")


@functools.cache
def open_ledger() -> int:
    """The ledger, for those to whom opening it for each line takes too long."""
    return os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@jobd.job(name="chaos_fate")
def fate(number: int, failures: int, seconds: float) -> None:
    """Fails so many times before it works, and each run lasts so long.

    Notes the number of the attempt too, from 1; `ran` stands for the beginning and the end of one that just works. Its
    lines end with a full stop, and stand alone also after one that a kill has cut off.
    """
    job = jobd.current_job()
    said = f" {number} {job.attempt} {os.getpid()} .\n".encode()
    if job.attempt > failures and not seconds:
        os.write(open_ledger(), b"\nran" + said)
        return
    os.write(open_ledger(), b"\nbegan" + said)
    threading.Event().wait(seconds)
    if job.attempt > failures:
        os.write(open_ledger(), b"\nended" + said)
        return
    os.write(open_ledger(), (b"\ndiscarded" if job.payload["retry"] is False else b"\nfailed") + said)
    raise RuntimeError(f"attempt {job.attempt} of a job that fails {failures} times")


@jobd.job(name="run_program")
def run_program(code: int) -> None:
    """Waits for a program, and notes its exit code as it was learnt."""
    done = subprocess.run([sys.executable, "-S", "-c", f"raise SystemExit({code})"], check=False)
    note("code", code, done.returncode)


@jobd.job(name="leave_stranger")
def leave_stranger(number: int) -> None:
    """Starts a process that loses its parent at once, and ends a moment later."""
    script = "sleep 0.1 & echo $!"
    pid = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    note("stranger", number, pid)


@jobd.job(name="write_log")
def write_log(writer: int, rate: float) -> None:
    """Logs numbered lines, so many a second [0: as fast as it can], until a file `LEDGER.stop` exists."""
    stop, line, begun = Path(f"{os.environ[LEDGER]}.stop"), 0, time.monotonic()
    while line % 100 or not stop.exists():
        log.event("line", writer=writer, line=line, filling="y" * (line % 97))
        line += 1
        if rate and line % 100 == 0:
            threading.Event().wait(max(0.0, begun + line / rate - time.monotonic()))
    note("wrote", writer, line)
