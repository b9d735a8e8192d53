"""The real command `jobd` as a process: start it, read its log, signal it, wait for its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from redis import Redis

from jobd.client.embedded import EmbeddedAddress, is_embedded
from jobd.client.push import Client
from jobd.supervisor.control_path import socket_path
from tests.supervisor.apps.ledger_jobs import LEDGER, RELEASE
from tests.waiting import wait_until

APPS = Path(__file__).parent / "apps"
QUICK = Path(__file__).parent / "quick_jobd.py"
CONSTANTS, PATCH = "JOBD_TEST_CONSTANTS", "JOBD_TEST_PATCH"
"""What it reads."""
READY_SECONDS = 20.0
DEFECTS = ("component.failed", "process.defect", "job.defect", "owner.fenced")
"""Events that no run may log, unless its test says so."""


def environment(**variables: str) -> dict[str, str]:
    """The environment of a command that finds the test applications and no address of Redis."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("JOBD_REDIS_URL", "REDIS_URL", "JOBD_ENV", "APP_ENV")
    }
    return {**kept, "PYTHONPATH": str(APPS), **variables}


def run_jobd(*args: str, cwd: Path, seconds: float = 30.0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `jobd` with `args` to its end."""
    command = [sys.executable, "-m", "jobd", *args]
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


class Jobd:
    """One `jobd` in the foreground, its files in `directory`; it may be started again after its end.

    `settings` are keys of the configuration file, on top of quick ones for tests. The applications of `apps/` can be
    required. With `may_fail`, events of DEFECTS are no failure of the test. `constants` (`{"module.NAME": value}`) are
    changed in the process, and the module `patch` of `apps/` is imported there, before `jobd` runs.
    `variables` are added to the environment; `home` is where it is started [`directory`].

    `ctl` and `status` need `pidfile` among the settings; relative paths are below `directory`.
    """

    def __init__(
        self,
        directory: Path,
        redis_url: str,
        *,
        may_fail: bool = False,
        constants: Mapping[str, Any] | None = None,
        patch: str = "",
        variables: Mapping[str, str] | None = None,
        home: Path | None = None,
        **settings: Any,
    ) -> None:
        self.directory, self.redis_url, self.home = directory, redis_url, home or directory
        self.may_fail = may_fail
        self.constants, self.patch, self.variables = constants or {}, patch, variables or {}
        self.log, self.ledger, self.release_file = (directory / name for name in ("jobd.log", "ledger", "release"))
        self.settings: dict[str, Any] = {
            "redis_url": redis_url,
            "require": ["ledger_jobs"],
            "processes": 1,
            "concurrency": 10,
            "timeout": 5,
            "heartbeat_interval": 0.2,
            "logformat": "json",
            **settings,
        }
        self.stdin: int | None = None
        """The standard input of the command [that of the tests]."""
        self._process: subprocess.Popen[bytes] | None = None
        self._family: set[psutil.Process] = set()

    def __enter__(self) -> Jobd:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None and not self.may_fail:
            assert not [event for event in self.events() if event["event"] in DEFECTS]

    def launch(self) -> Jobd:
        """Start the command and do not wait."""
        self.configure()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.home,
                env=self._environment(),
                stdin=self.stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def configure(self, **settings: Any) -> None:
        """Write the configuration file, with these settings changed from now on."""
        self.settings |= settings
        (self.directory / "jobd.yml").write_text(json.dumps(self.settings))

    @property
    def command(self) -> list[str]:
        """What is started."""
        program = [str(QUICK)] if self.constants or self.patch else ["-m", "jobd"]
        return [sys.executable, *program, "-C", str(self.directory / "jobd.yml")]

    def _environment(self) -> dict[str, str]:
        variables = {LEDGER: str(self.ledger), RELEASE: str(self.release_file), **self.variables}
        if self.constants or self.patch:
            variables |= {CONSTANTS: json.dumps(self.constants), PATCH: self.patch}
        return environment(**variables)

    def ctl(self, *words: str, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run `jobd ctl` with these words, for this jobd."""
        return run_jobd("ctl", "-P", self.settings["pidfile"], *words, cwd=self.directory, seconds=seconds)

    def status(self) -> dict[str, Any]:
        """What `jobd ctl status --json` prints, without starting a process for it."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(os.fspath(socket_path(self.directory / self.settings["pidfile"])))
            connection.sendall(b'{"do": "status"}\n')
            with connection.makefile() as replies:
                found = json.loads(replies.read())["status"]
        assert isinstance(found, dict)
        return found

    def start(self) -> Jobd:
        """Start the command; return when all its processes run jobs."""
        before = self.count("process.ready")
        self.launch()
        self.wait_for("process.ready", count=before + max(1, self.settings["processes"]), seconds=READY_SECONDS)
        return self

    @property
    def pid(self) -> int:
        """The master."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def workers(self) -> list[psutil.Process]:
        """The worker processes that live now."""
        ready = {event["pid"] for event in self.events("process.ready")}
        return [child for child in self._children() if child.pid in ready]

    @property
    def identities(self) -> list[str]:
        """The identities of the processes that live now, oldest first."""
        alive = {self.pid, *(process.pid for process in self.workers)}
        return [event["identity"] for event in self.events("process.ready") if event["pid"] in alive]

    @property
    def session(self) -> list[psutil.Process]:
        """All that the command has started and that still lives, also what its parent left behind."""
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getsid(pid) == self.pid:
                    found.append(psutil.Process(pid))
        return [process for process in found if not has_ended(process)]

    def _children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children()
            self._family.update(children)
            return children
        return []

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        os.kill(self.pid, number)

    def kill_everything(self) -> None:
        """SIGKILL for the master and all its children, the embedded store included."""
        children = self._children()
        for process in [psutil.Process(self.pid), *children]:
            process.kill()
        self.wait()
        wait_until(lambda: all(map(has_ended, children)), "the end of all processes")

    def wait(self, seconds: float = 15.0) -> int:
        """The exit code, once the command has ended."""
        assert self._process is not None, "not started"
        return self._process.wait(seconds)

    def stop(self) -> int:
        """TERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(self.settings["timeout"] + 5)

    def close(self) -> None:
        """Kill whatever is left; may come twice."""
        if self._process is None:
            return
        children = self._children()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        for child in {*children, *self._family, *self.session}:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        if is_embedded(self.redis_url):
            _kill_store(EmbeddedAddress.of(self.redis_url).directory)

    def text(self) -> str:
        """All that was logged and printed."""
        return self.log.read_text() if self.log.exists() else ""

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What was logged, with these names or any, in order."""
        parsed = map(_event, self.text().splitlines())
        return [event for event in parsed if event is not None and (not names or event["event"] in names)]

    def count(self, name: str) -> int:
        """How often an event was logged."""
        return len(self.events(name))

    def wait_for(self, name: str, *, count: int = 1, seconds: float = 10.0) -> dict[str, Any]:
        """The event `name` that is number `count`, as soon as it is logged."""
        try:
            wait_until(lambda: self.count(name) >= count, f"{count} × {name}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; the log says:\n{self.text()}") from None
        return self.events(name)[count - 1]

    def lines(self, what: str) -> list[str]:
        """Who has noted `what` in the ledger, in order."""
        return [words[1] for words in self._ledger() if words[0] == what]

    def wait_for_lines(self, what: str, count: int, seconds: float = 10.0) -> None:
        """Wait until the ledger holds so many lines."""
        wait_until(lambda: len(self.lines(what)) >= count, f"{count} × {what} in the ledger", seconds)

    def _ledger(self) -> list[list[str]]:
        return [line.split() for line in self.ledger.read_text().splitlines()] if self.ledger.exists() else []

    def release(self) -> None:
        """Let jobs that hold end."""
        self.release_file.touch()

    def push(self, name: str, *args: Any, **options: Any) -> str:
        """Push one job into the default queue."""
        with contextlib.closing(Client(self.redis_url)) as client:
            jid = client.push({"class": name, "args": list(args), **options})
        assert jid is not None
        return jid

    def push_many(self, name: str, numbers: Iterable[int]) -> None:
        """Push a job for each number."""
        with contextlib.closing(Client(self.redis_url)) as client:
            client.push_bulk({"class": name, "args": [[number] for number in numbers]})

    @contextlib.contextmanager
    def redis(self) -> Iterator[Redis]:
        """A client of its Redis; replies are bytes."""
        url = EmbeddedAddress.of(self.redis_url).url if is_embedded(self.redis_url) else self.redis_url
        with Redis.from_url(url) as client:
            yield client

    def queued(self, queue: str = "default") -> list[bytes]:
        """The bytes of a queue, next to be taken first."""
        with self.redis() as client:
            found: Any = client.lrange(f"queue:{queue}", 0, -1)
        return list(reversed(found))

    def statistics(self) -> tuple[int, int]:
        """Redis' counters: jobs processed, jobs failed."""
        with self.redis() as client:
            processed, failed = client.mget("stat:processed", "stat:failed")
        return int(processed or 0), int(failed or 0)

    def left_in_progress(self) -> Mapping[str, object]:
        """What processes have left behind in Redis; empty after a clean stop."""
        with self.redis() as client:
            keys = [*client.scan_iter("jobd:*:jobs"), *client.scan_iter("jobd:*:batch")]
            found = {
                "records": keys,
                "owners": client.zrange("jobd:procs", 0, -1),
                "processes": client.smembers("processes"),
            }
        return {name: value for name, value in found.items() if value}


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _kill_store(directory: Path) -> None:
    with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
        psutil.Process(int((directory / "server.lock").read_text().split()[0])).kill()


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or waits only for somebody to ask for its exit code."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def doubled(names: Iterable[str]) -> list[str]:
    """Those that come more than once."""
    return [name for name, count in Counter(names).items() if count > 1]
