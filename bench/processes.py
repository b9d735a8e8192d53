"""The processes of one system: started together, measured and killed as a family."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


def cpu_seconds(process: psutil.Process) -> float:
    """CPU seconds that the living threads of a process have used, to the nanosecond where the kernel tells.

    Its ordinary account counts in steps of 10 ms, more than an idle process takes in a second.
    """
    tasks = Path(f"/proc/{process.pid}/task")
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
    except FileNotFoundError:
        times = process.cpu_times()
        return float(times.user + times.system)


class Processes:
    """Commands that run side by side. What they print goes to `log`."""

    def __init__(self, commands: Sequence[Sequence[str]], directory: Path, environment: Mapping[str, str]) -> None:
        self.log = directory / "log"
        self._log = self.log.open("ab")
        self._started = [
            subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
            for command in commands
        ]

    def check(self) -> None:
        """Raise, with what was printed last, if one of them has ended."""
        for process in self._started:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{self.log.read_text()[-2000:]}")

    def family(self) -> list[psutil.Process]:
        """The commands and all below them that live now."""
        found: list[psutil.Process] = []
        for process in self._started:
            with contextlib.suppress(psutil.NoSuchProcess):
                parent = psutil.Process(process.pid)
                found += [parent, *parent.children(recursive=True)]
        return found

    def cpu(self) -> float:
        """CPU seconds that the living threads of the family have used."""
        return sum(map(cpu_seconds, self.family()))

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
        self._log.close()
