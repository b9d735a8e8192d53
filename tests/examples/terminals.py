"""Follow the README of an example: its shell lines, typed into terminals in a copy of its folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
HEADING_OR_BLOCK = re.compile(r"^#+ (?P<heading>[^\n]+)$|^```sh\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Step:
    """A block of shell lines of a README, and the heading above it."""

    heading: str
    lines: str


def steps(readme: str) -> list[Step]:
    """The blocks marked `sh`, in order."""
    found, heading = [], ""
    for match in HEADING_OR_BLOCK.finditer(readme):
        heading = match["heading"] or heading
        if match["lines"]:
            found.append(Step(heading, match["lines"]))
    return found


class Terminal:
    """A shell that runs the lines of a step; what they print goes to a file."""

    def __init__(self, step: Step, directory: Path, environment: dict[str, str]) -> None:
        self._output = directory.parent / f"{step.heading}.txt"
        self._what = f"{step.heading}: {step.lines.strip()}"
        # Of the last line, so that signals meet the program and not a shell around it.
        *before, last = step.lines.strip().splitlines()
        script = "\n".join(["set -e", *before, f"exec {last}"])
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                ["sh", "-c", script],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        """What has been printed so far."""
        return self._output.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match of `pattern` in what is printed."""
        wait_until(lambda: re.search(pattern, self.text) or self._has_ended(), f"{pattern} from {self._what}")
        found = re.search(pattern, self.text)
        assert found, f"{self._what} ended without {pattern}:\n{self.text}"
        return found

    def wait(self) -> None:
        """Let the lines run to their end, which must be a success."""
        assert self.process.wait(STOP_SECONDS) == 0, f"{self._what}:\n{self.text}"

    def stop(self) -> int:
        """Send TERM; returns the exit code, which is negative for an end by a signal."""
        assert not self._has_ended(), f"{self._what} ended by itself:\n{self.text}"
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def _has_ended(self) -> bool:
        return self.process.poll() is not None


class Desk:
    """A copy of an example's folder, and the terminals in which its README is followed."""

    def __init__(self, name: str, directory: Path, **environment: str) -> None:
        made = shutil.ignore_patterns("var", "instance", "__pycache__", ".venv")
        self.directory = Path(shutil.copytree(EXAMPLES / name, directory / name, ignore=made))
        self.steps = steps((self.directory / "README.md").read_text())
        self.environment = {**_environment_without_redis(), **environment}
        self._terminals: list[Terminal] = []

    def type(self, step: Step) -> Terminal:
        """Open a terminal and type the lines of `step` into it."""
        terminal = Terminal(step, self.directory, self.environment)
        self._terminals.append(terminal)
        return terminal

    def processes(self) -> list[psutil.Process]:
        """What still runs in the folder: servers that left their terminal work there too."""
        return [process for process in psutil.process_iter() if _works_in(process, self.directory)]

    def clear(self) -> None:
        """Kill what a failed test left."""
        left = self.processes()
        for process in left:
            process.kill()
        for terminal in self._terminals:
            terminal.process.wait(STOP_SECONDS)
        psutil.wait_procs(left, STOP_SECONDS)


def _environment_without_redis() -> dict[str, str]:
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JOBD_", "REDIS_", "FLASK_"))}
    return {**kept, "PATH": programs, "PYTHONDONTWRITEBYTECODE": "1"}


def _works_in(process: psutil.Process, directory: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(directory)
    except (psutil.Error, OSError):
        return False
