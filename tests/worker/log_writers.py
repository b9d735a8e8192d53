"""`python log_writers.py FILE PROCESSES LINES`: processes that log to one file. Run by test_log_file.py.

Prints "up" when all of them write. Those with an even number reopen the file at USR1, as the command does, and the
others find out by themselves. Each goes on until it has written LINES lines and the parent's input has ended.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

from jobd.worker import log


def write_lines(number: int, lines: int, *, by_signal: bool) -> None:
    """Log lines of uneven length, numbered, with a traceback now and then."""
    wanted = False

    def note(*_: object) -> None:
        nonlocal wanted
        wanted = True

    signal.signal(signal.SIGUSR1, note if by_signal else signal.SIG_IGN)
    line = 0
    while line < lines or not select.select([0], [], [], 0)[0]:
        if wanted:
            wanted = False
            log.reopen()
        error = ValueError("x" * 200) if line % 50 == 0 else None
        log.event("line", writer=number, line=line, filling="y" * (line % 97), exc_info=error)
        line += 1
    log.event("end", writer=number, lines=line)


def main(path: str, processes: str, lines: str) -> None:
    """Fork the writers; they inherit one open file."""
    log.install("plain", "info", Path(path))
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    pids = []
    for number in range(int(processes)):
        pid = os.fork()
        if pid == 0:
            write_lines(number, int(lines), by_signal=number % 2 == 0)
            os._exit(0)
        pids.append(pid)
    print("up", *pids, flush=True)
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))


if __name__ == "__main__":
    main(*sys.argv[1:])
