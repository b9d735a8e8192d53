"""`jobd -d`, its pidfile and log file, the hard stop, and a start under systemd: the real command and real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

import jobd
from jobd.supervisor import exits
from tests.supervisor.apps.ledger_jobs import LEDGER, RELEASE
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import environment, has_ended, run_jobd
from tests.waiting import wait_until

PIDFILE, LOGFILE = "tmp/pids/jobd.pid", "log/jobd.log"


class Daemon:
    """`jobd -d` in a directory of its own, with paths relative to it."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        self.directory, self.redis_url = directory, redis_url
        self.log, self.pidfile = directory / LOGFILE, directory / PIDFILE
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Write the configuration."""
        base = {"redis_url": self.redis_url, "require": ["ledger_jobs"], "processes": 2, "concurrency": 2, "timeout": 3}
        text = json.dumps({**base, "logformat": "json", "heartbeat_interval": 0.2, **settings})
        (self.directory / "jobd.yml").write_text(text)

    def start(self, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command; it returns when the daemon is ready, or has failed."""
        files = {LEDGER: str(self.directory / "ledger"), RELEASE: str(self.directory / "release")}
        options = ["-d", "-L", LOGFILE, "-P", PIDFILE, "-C", "jobd.yml", *more]
        return run_jobd(*options, cwd=self.directory, **files, **variables)

    @property
    def master(self) -> psutil.Process:
        """The master as its pidfile names it."""
        return psutil.Process(int(self.pidfile.read_text()))

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged under this name."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in events if event["event"] == name]

    def stop(self) -> None:
        """TERM, and wait for the end."""
        master = self.master
        family = [master, *master.children()]
        master.terminate()
        wait_until(lambda: all(has_ended(process) for process in family), "the end of the daemon")

    def kill(self) -> None:
        """End whatever is left."""
        lock = self.pidfile.with_name(self.pidfile.name + ".lock")
        pids = {int(word) for path in (self.pidfile, lock) if path.exists() for word in _numbers(path.read_text())}
        for pid in pids:
            try:
                process = psutil.Process(pid)
                if str(self.directory) in process.cwd():
                    for each in [*process.children(), process]:
                        each.kill()
            except psutil.Error:
                continue


def _numbers(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").replace(":", " ").split() if word.isdigit()]


@pytest.fixture
def daemon(tmp_path: Path, redis_url: str) -> Iterator[Daemon]:
    """A daemon to start; nothing of it is left after the test."""
    made = Daemon(tmp_path, redis_url)
    yield made
    made.kill()


def test_the_command_returns_once_every_process_is_ready(daemon: Daemon, redis: Redis) -> None:
    done = daemon.start()
    assert (done.returncode, done.stderr) == (exits.OK, "")
    assert len(daemon.events("process.ready")) == 2
    master = daemon.master
    assert os.getsid(master.pid) != os.getsid(0)
    assert master.cwd() == str(daemon.directory)
    assert len(master.children()) == 2
    jobd.Client(daemon.redis_url).push({"class": "quick", "args": [1]})
    wait_until(lambda: redis.get("stat:processed") == b"1", "the job")
    daemon.stop()
    assert not daemon.pidfile.exists()
    assert daemon.events("master.stopped")[0]["code"] == exits.OK


def test_quiet_by_pidfile_then_stop_and_start_loses_nothing(daemon: Daemon, redis: Redis) -> None:
    daemon.start()
    subprocess.run(f"kill -TSTP $(cat {PIDFILE})", shell=True, cwd=daemon.directory, check=True)
    wait_until(lambda: len(daemon.events("process.quiet")) == 2, "quiet")
    jobd.Client(daemon.redis_url).push_bulk({"class": "quick", "args": [[n] for n in range(20)]})
    daemon.stop()
    assert redis.llen("queue:default") == 20
    daemon.start()
    wait_until(lambda: redis.get("stat:processed") == b"20", "the jobs after the restart")
    daemon.stop()


def test_a_start_that_fails_reaches_the_caller(daemon: Daemon) -> None:
    (daemon.directory / "broken.py").write_text("raise RuntimeError('no such tenant')\n")
    daemon.configure(require=["broken"])
    done = daemon.start()
    assert done.returncode == exits.CHILDREN_CANNOT_BOOT
    assert done.stderr.startswith("jobd: cannot import broken: RuntimeError: no such tenant")
    assert done.stderr.count("Traceback") == 1
    assert not daemon.pidfile.exists()


def test_no_redis_reaches_the_caller(daemon: Daemon) -> None:
    daemon.configure(redis_url="unix:///nowhere/redis.sock")
    done = daemon.start()
    assert done.returncode == exits.REDIS_UNAVAILABLE
    assert "jobd: Redis at unix:///nowhere/redis.sock" in done.stderr
    assert not daemon.pidfile.exists()


def test_a_daemon_without_a_log_file_is_refused(tmp_path: Path) -> None:
    done = run_jobd("-d", cwd=tmp_path)
    assert done.returncode == exits.CONFIG
    assert "-L" in done.stderr


def test_a_second_one_on_the_pidfile_is_refused_and_a_stale_pidfile_is_not_in_the_way(daemon: Daemon) -> None:
    daemon.start()
    second = daemon.start()
    assert second.returncode == exits.ALREADY_RUNNING
    assert str(daemon.master.pid) in second.stderr
    family = [daemon.master, *daemon.master.children()]
    family[0].kill()
    wait_until(lambda: all(has_ended(process) for process in family), "the end of the orphans", seconds=15)
    assert daemon.pidfile.exists()
    assert daemon.start().returncode == exits.OK
    assert daemon.master.pid != family[0].pid
    daemon.stop()


def test_usr1_opens_the_log_anew_in_master_and_children(daemon: Daemon) -> None:
    daemon.start()
    daemon.log.rename(daemon.log.with_suffix(".1"))
    daemon.master.send_signal(signal.SIGUSR1)
    wait_until(daemon.log.exists, "the new log file")
    daemon.master.send_signal(signal.SIGTSTP)
    wait_until(lambda: len(daemon.events("process.quiet")) == 2, "lines of both children in the new file")
    assert daemon.events("master.quiet")
    daemon.stop()


@pytest.mark.parametrize("processes", [0, 2])
def test_quit_gives_jobs_back_at_once(start_jobd: StartJobd, processes: int) -> None:
    running = start_jobd(processes=processes, timeout=20)
    running.push("hold", 1)
    running.wait_for_lines("began", 1)
    running.signal(signal.SIGQUIT)
    assert running.wait(seconds=5) == exits.QUIT
    assert len(running.queued()) == 1
    assert running.statistics() == (0, 0)
    assert not running.left_in_progress()


@pytest.mark.parametrize("processes", [0, 2])
def test_a_second_int_does_not_wait_for_jobs_and_an_echo_of_the_first_does(
    start_jobd: StartJobd, processes: int
) -> None:
    running = start_jobd(processes=processes, timeout=20)
    running.push("hold", 1)
    running.wait_for_lines("began", 1)
    running.signal(signal.SIGINT)
    running.signal(signal.SIGINT)
    running.wait_for("process.quiet")
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(seconds=1.2)
    running.signal(signal.SIGINT)
    assert running.wait(seconds=5) == exits.INTERRUPTED_TWICE
    assert len(running.queued()) == 1
    assert not running.left_in_progress()


def test_under_systemd_it_stays_in_the_foreground_and_tells_it_what_happens(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(daemon.directory / "n"))
        manager.settimeout(15)
        process = subprocess.Popen(
            [*_command(), "-d", "-L", LOGFILE, "-P", PIDFILE, "-C", "jobd.yml"],
            cwd=daemon.directory,
            env=_environment(daemon, NOTIFY_SOCKET=str(daemon.directory / "n")),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert "READY=1" in _datagram(manager)
            assert int(daemon.pidfile.read_text()) == process.pid
            assert all("NOTIFY_SOCKET" not in child.environ() for child in daemon.master.children())
            process.terminate()
            while "STOPPING=1" not in _datagram(manager):
                pass
            _, stderr = process.communicate(timeout=15)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == exits.OK
    assert "systemd" in stderr


def _datagram(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().splitlines()


def _command() -> list[str]:
    return [sys.executable, "-m", "jobd"]


def _environment(daemon: Daemon, **variables: str) -> dict[str, str]:
    files = {LEDGER: str(daemon.directory / "ledger"), RELEASE: str(daemon.directory / "release")}
    return environment(**files, **variables)
