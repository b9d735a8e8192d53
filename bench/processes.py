"""The processes of one system: started together, measured and killed as a family."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

SCHEDULED = 2
"""As the C library's clock_getcpuclockid() makes a clock of a process: this kind in the lowest three bits."""


def cpu_seconds(pid: int) -> float:
    """CPU seconds that all threads of a process have used, ended ones included, to the nanosecond.

    /proc has no such figure: it counts processes in steps of 10 ms, and forgets the nanoseconds of a thread that ended.
    Raises OSError if there is no such process.
    """
    return time.clock_gettime(~pid << 3 | SCHEDULED)


class Processes:
    """Commands that run side by side in `directory`. What they print goes to `log`."""

    def __init__(self, commands: Sequence[Sequence[str]], directory: Path, environment: Mapping[str, str]) -> None:
        self.directory, self.log = directory, directory / "log"
        self._environment = environment
        self._used: dict[psutil.Process, float] = {}
        self._started = [self._start(command) for command in commands]

    def _start(self, command: Any) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise, with what was printed last, if one of them has ended."""
        for process in self._started:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{self.log.read_text()[-2000:]}")

    def revive(self) -> None:
        """Start again whichever command has ended, as any service manager would."""
        self._started = [each if each.poll() is None else self._start(each.args) for each in self._started]

    def family(self) -> list[psutil.Process]:
        """The commands and all below them that live now."""
        found: list[psutil.Process] = []
        for process in self._started:
            with contextlib.suppress(psutil.NoSuchProcess):
                parent = psutil.Process(process.pid)
                found += [parent, *parent.children(recursive=True)]
        return found

    def cpu(self) -> float:
        """CPU seconds that the family has used; of one that has ended, what it had when it was seen last."""
        for process in self.family():
            with contextlib.suppress(OSError):
                self._used[process] = cpu_seconds(process.pid)
        return sum(self._used.values())

    def memory(self) -> float:
        """The family's share of memory (PSS) in MB, pages that several use being divided among them."""
        return sum(process.memory_full_info().pss for process in self.family()) / 1e6

    def kill(self) -> None:
        """SIGKILL for all at once, and wait until they are gone."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()  # or a master would start others meanwhile
        family = self.family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._started:
            started.wait()
        psutil.wait_procs(family, timeout=10)
