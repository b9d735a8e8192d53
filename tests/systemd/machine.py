"""A container that boots systemd from a root directory of its own, without a network, and is gone when the tests are.

Never boot systemd on the root of the machine itself: its boot empties temporary directories and renames devices.
Works where systemd is the machine's own init, and where it is not (it then needs a cgroup, which is made here).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import psutil

from tests.waiting import wait_until

BOOT_SECONDS, STOP_SECONDS, COMMAND_SECONDS = 60.0, 30.0, 60.0
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Machine:
    """A running container; `log` gets what its boot prints."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root, self.log = root, log
        self._cgroups = _make_cgroups()
        self._process: subprocess.Popen[bytes] | None = None
        self._leader: psutil.Process | None = None

    def __enter__(self) -> Machine:
        try:
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, *command: str, check: bool = True, seconds: float = COMMAND_SECONDS) -> str:
        """The standard output of a command that runs in the container as root. With `check` it must end with 0."""
        done = self.attempt(*command, seconds=seconds)
        assert not check or done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def attempt(self, *command: str, seconds: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command in the container as root."""
        assert self._leader, "the container has not been booted"
        namespaces = [f"--target={self._leader.pid}", "--mount", "--pid", "--uts", "--ipc", "--net"]
        return subprocess.run(
            ["nsenter", *namespaces, "--", *command],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def _boot(self) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                _command(self.root, self._cgroups), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        nspawn = psutil.Process(self._process.pid)
        wait_until(lambda: self._has_ended() or self._is_booted(nspawn), "the boot of the container", BOOT_SECONDS)
        assert not self._has_ended(), f"systemd-nspawn has ended:\n{self.log.read_text(errors='replace')}"

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _is_booted(self, nspawn: psutil.Process) -> bool:
        if self._leader is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                # The shell that joins the cgroups becomes systemd-nspawn; systemd is the child of that.
                self._leader = next((each for each in nspawn.children() if each.name() == "systemd"), None)
        return self._leader is not None and self.run("systemctl", "is-system-running", check=False).strip() in (
            "running",
            "degraded",
        )

    def close(self) -> None:
        """Shut down; what does not end then is killed. May come twice."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                # The end of a container's first process is the end of all.
                (self._leader or self._process).kill()
                self._process.kill()
                self._process.wait()
        self._process = self._leader = None
        for each in self._cgroups:
            _remove_cgroup(each)
        self._cgroups = []


def _command(root: Path, cgroups: list[Path]) -> list[str]:
    """systemd-nspawn in these cgroups; it ends with the process that starts it."""
    join = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@"'
    return [
        *("setpriv", "--pdeathsig", "TERM", "sh", "-ec", join, "sh", *map(str, cgroups), "--"),
        *("systemd-nspawn", f"--directory={root}", "--register=no", *(["--keep-unit"] if cgroups else [])),
        *("--private-network", "--link-journal=no", "--console=pipe", "--boot"),
        *("systemd.unit=multi-user.target", "systemd.mask=systemd-udevd.service"),
    ]


def _make_cgroups() -> list[Path]:
    """Where systemd is not the machine's init: cgroups for the container. A running one brings its own."""
    if Path("/run/systemd/system").exists():
        return []
    made = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            made.append(Path(place) / f"jobd-test-{os.getpid()}")
            made[-1].mkdir()
    assert made, "no cgroup hierarchy is mounted that systemd could use"
    return made


def _remove_cgroup(directory: Path) -> None:
    for each, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(each)
