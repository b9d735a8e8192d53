"""One jobd under systemd in the container: an instance of `jobd@.service`, its files, and what systemd says of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.supervisor.apps import ledger_jobs
from tests.systemd.container_root import APPLICATION
from tests.systemd.machine import Machine
from tests.waiting import wait_until

IMPORT_SECONDS = 2.0
SLOW_APPLICATION = f"import time\n\ntime.sleep({IMPORT_SECONDS})\nimport ledger_jobs\n"
PUSH = "import json, sys; from jobd import Client; Client(sys.argv[1]).push(json.loads(sys.argv[2]))"


class Unit:
    """`jobd@NAME.service`, with settings on top of those that suit a test, and a store of its own."""

    def __init__(self, machine: Machine, name: str, **settings: Any) -> None:
        self.machine, self.unit = machine, f"jobd@{name}.service"
        self._name = name
        self._state = f"/var/lib/jobd-{name}"
        self.ledger = self._outside(f"{self._state}/ledger")
        files = {ledger_jobs.LEDGER: f"{self._state}/ledger", ledger_jobs.RELEASE: f"{self._state}/release"}
        shutil.rmtree(self._outside(self._state), ignore_errors=True)
        self.write(f"/{APPLICATION}/ledger_jobs.py", Path(ledger_jobs.__file__).read_text())
        self.write(f"/{APPLICATION}/slow_jobs.py", SLOW_APPLICATION)
        self.write(f"/etc/jobd/{name}.env", "".join(f"{key}={value}\n" for key, value in files.items()))
        self.settings = {
            "redis_url": "embedded:${STATE_DIRECTORY}/store",
            "require": ["ledger_jobs"],
            "processes": 2,
            "concurrency": 2,
            "timeout": 3,
            "heartbeat_interval": 0.2,
            **settings,
        }
        self.configure(**self.settings)

    def configure(self, **settings: Any) -> None:
        """Write the configuration anew, with these settings changed."""
        self.settings = {**self.settings, **settings}
        self.write(f"/etc/jobd/{self._name}.yml", json.dumps(self.settings))

    def set_in_unit(self, setting: str) -> None:
        """Change a setting of [Service], as `systemctl edit` does."""
        self.drop_in(f"[Service]\n{setting}\n")

    def drop_in(self, text: str) -> None:
        """Give the unit a drop-in."""
        self.write(f"/etc/systemd/system/{self.unit}.d/test.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def write(self, path: str, text: str) -> None:
        """Write a file of the container."""
        target = self._outside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def _outside(self, path: str) -> Path:
        return self.machine.root / path.lstrip("/")

    def systemctl(self, verb: str, *options: str) -> None:
        """`systemctl VERB`, which must succeed."""
        self.machine.run("systemctl", verb, *options, self.unit)

    def signal(self, name: str) -> None:
        """Send a signal to the master, as the pages say it."""
        self.systemctl("kill", "-s", name, "--kill-who=main")

    def shown(self, name: str) -> str:
        """A property of the unit, as systemd has it."""
        return self.machine.run("systemctl", "show", "--value", f"--property={name}", self.unit).strip()

    def wait_until_shown(self, name: str, value: str, seconds: float = 15.0) -> None:
        """Wait until a property of the unit has this value."""
        try:
            wait_until(lambda: self.shown(name) == value, f"{name}={value}", seconds)
        except AssertionError as error:
            raise AssertionError(
                f"{error}; it is {self.shown(name)}, and the journal says:\n{self.journal()}"
            ) from None

    def journal(self) -> str:
        """What jobd has logged."""
        return self.machine.run("journalctl", "--boot", "--unit", self.unit, "--output=cat", "--no-pager")

    def wait_for_event(self, name: str, *words: str, count: int = 1) -> None:
        """Wait for so many lines of the log with this event and these words."""

        def found() -> int:
            lines = map(str.split, self.journal().splitlines())
            return sum(name in line and all(word in line for word in words) for line in lines)

        try:
            wait_until(lambda: found() >= count, f"{count} × {name} {' '.join(words)}", 15.0)
        except AssertionError as error:
            raise AssertionError(f"{error}; the journal says:\n{self.journal()}") from None

    def processes(self) -> set[int]:
        """The pids, as the container sees them, of all processes of the unit."""
        if not self.shown("ControlGroup"):
            return set()
        found = self.machine.run("systemd-cgls", "--no-pager", "--full", "--unit", self.unit, check=False)
        return {int(word) for line in found.splitlines() for word in line.lstrip("│├└─ ").split()[:1] if word.isdigit()}

    def push(self, name: str, *args: Any) -> None:
        """Push a job, as the application would."""
        payload = json.dumps({"class": name, "args": args})
        python = f"/{APPLICATION}/.venv/bin/python"
        address = f"embedded:{self._state}/store"
        self.machine.run("runuser", "-u", "app", "--", python, "-c", PUSH, address, payload)

    def release(self) -> None:
        """Let jobs that hold end."""
        self._outside(f"{self._state}/release").touch()

    def noted(self, what: str) -> list[str]:
        """Who has noted `what` in the ledger, in order."""
        with contextlib.suppress(FileNotFoundError):
            lines = map(str.split, self.ledger.read_text().splitlines())
            return [words[1] for words in lines if words[0] == what]
        return []

    def wait_until_noted(self, what: str, who: list[str]) -> None:
        """Wait until the ledger says exactly this."""
        wait_until(lambda: self.noted(what) == who, f"{what} {who} in the ledger:\n{self.journal()}", 15.0)

    def close(self) -> None:
        """Stop it and take its files away."""
        self.machine.run("systemctl", "kill", "-s", "KILL", self.unit, check=False)
        self.machine.run("systemctl", "stop", self.unit, check=False)
        self.machine.run("systemctl", "reset-failed", self.unit, check=False)
        shutil.rmtree(self._outside(f"/etc/systemd/system/{self.unit}.d"), ignore_errors=True)
        for suffix in ("yml", "env"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._outside(f"/etc/jobd/{self._name}.{suffix}"))
