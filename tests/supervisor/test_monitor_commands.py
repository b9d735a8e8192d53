"""`jobd queues`, `processes`, `stats` and `mon`: what they show of a cluster, and what they do to queues."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from jobd.client import audit, payload
from jobd.client.job import job
from jobd.supervisor import cli, exits
from jobd.supervisor.commands import mon
from jobd.supervisor.commands.output import Style, cut, table
from jobd.worker.config import WorkerConfig
from jobd.worker.embed import run
from tests.servers import RedisServer
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import environment
from tests.waiting import wait_until

Command = Callable[..., int]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def jobd(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs `jobd` without a terminal, on the empty database."""
    monkeypatch.setenv("JOBD_REDIS_URL", redis_url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return lambda *words: cli.main(words)


def printed(capsys: Captured) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def filled(redis: Redis) -> None:
    """Two queues, a paused one among them, counters and a dead job."""
    now = time.time()
    raw = payload.encode({"class": "A", "args": [], "jid": "1", "queue": "low", "enqueued_at": now - 100.0})
    redis.sadd("queues", "low", "default")
    redis.lpush("queue:low", raw, raw)
    redis.mset({"stat:processed": 1234, "stat:failed": 5})
    redis.zadd("dead", {raw: now})


@pytest.mark.usefixtures("filled")
def test_queues_are_listed_with_size_and_latency(jobd: Command, capsys: Captured) -> None:
    assert jobd("queues") == exits.OK
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["queue", "size", "latency"],
        ["low", "2", "100", "s"],
        ["default", "0", "0.0", "s"],
    ]


@pytest.mark.usefixtures("filled")
def test_a_queue_is_paused_and_resumed(jobd: Command, redis: Redis, capsys: Captured) -> None:
    assert jobd("queues", "pause", "low") == exits.OK
    assert jobd("queues", "pause", "low") == exits.OK
    found: Any = redis.xrange("jobd:audit")
    assert [(each.action, each.target, each.counts) for each in audit.records(found)] == [
        ("pause", "low", {"moved": 1}),
        ("pause", "low", {}),
    ]
    assert capsys.readouterr().out.splitlines() == ["paused low", "low was paused already"]
    assert redis.smembers("paused") == {b"low"}
    assert jobd("queues") == exits.OK
    assert "paused by " in capsys.readouterr().out
    assert jobd("queues", "--json") == exits.OK
    low = printed(capsys)["queues"][0]
    assert (low["name"], low["size"], low["paused"], "@" in low["paused_by"]) == ("low", 2, True, True)
    assert jobd("queues", "resume", "low", "--json") == exits.OK
    assert printed(capsys) == {"queue": "low", "paused": False, "changed": True}
    assert jobd("queues", "resume", "low") == exits.OK
    assert capsys.readouterr().out == "low was not paused\n"


def test_pausing_a_queue_that_is_not_there_says_so(jobd: Command, redis: Redis, capsys: Captured) -> None:
    assert jobd("queues", "pause", "lwo") == exits.OK
    assert "there is no queue lwo yet" in capsys.readouterr().err


@pytest.mark.usefixtures("filled")
def test_clearing_a_queue_needs_a_yes(jobd: Command, redis: Redis, capsys: Captured) -> None:
    assert jobd("queues", "clear", "low") == exits.USAGE
    assert "Delete 2 jobs of the queue low for good?" in capsys.readouterr().err
    assert redis.llen("queue:low") == 2
    assert jobd("queues", "clear", "low", "--yes", "--json") == exits.OK
    assert printed(capsys) == {"queue": "low", "deleted": 2}
    assert redis.llen("queue:low") == 0


@pytest.mark.usefixtures("filled")
def test_clearing_a_queue_that_is_not_there_names_those_that_are(jobd: Command, capsys: Captured) -> None:
    assert jobd("queues", "clear", "lwo", "--yes") == exits.FAILED
    assert "there are default, low" in capsys.readouterr().err
    assert jobd("queues", "clear") == exits.USAGE


@pytest.mark.usefixtures("filled")
def test_stats_are_the_totals(jobd: Command, redis: Redis, capsys: Captured) -> None:
    redis.set(time.strftime("stat:processed:%Y-%m-%d", time.gmtime()), 7)
    assert jobd("stats", "--days", "2") == exits.OK
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown[:2] == [["processed", "1,234"], ["failed", "5"]]
    assert ["dead", "1"] in shown
    assert shown[-2][1:] == ["7", "0"]
    assert jobd("stats", "--days", "2", "--json") == exits.OK
    document = printed(capsys)
    assert (document["processed"], document["enqueued"], document["dead"]) == (1234, 2, 1)
    assert [day["processed"] for day in document["days"]] == [7, 0]


def test_an_empty_cluster_is_said_to_be_empty(jobd: Command, capsys: Captured) -> None:
    assert jobd("mon") == exits.OK
    shown = capsys.readouterr().out
    assert "no processes" in shown
    assert "no queues" in shown
    assert jobd("processes", "--json") == exits.OK
    assert printed(capsys) == {"processes": []}


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("section", "there"),
    [("version", {"version"}), ("overview", {"overview"}), ("queues", {"queues"}), ("processes", {"processes"})],
)
def test_a_section_of_the_monitor_can_be_had_alone(
    jobd: Command, capsys: Captured, section: str, there: set[str]
) -> None:
    assert jobd("mon", section, "--json") == exits.OK
    assert there == printed(capsys).keys() & set(mon.SECTIONS)
    assert jobd("mon", section) == exits.OK
    titles = ["jobd ", "Overview", "Processes (", "Queues ("]
    shown = capsys.readouterr().out
    assert [title in shown for title in titles] == [name == section for name in mon.SECTIONS]
    assert "\033" not in shown


def test_watching_needs_a_terminal(jobd: Command, capsys: Captured) -> None:
    assert jobd("mon", "--watch") == exits.USAGE
    assert "standard output is no terminal" in capsys.readouterr().err


def test_running_processes_are_shown_and_watched(
    start_jobd: StartJobd, jobd: Command, redis: Redis, redis_url: str, capsys: Captured
) -> None:
    running = start_jobd(tag="shop", concurrency=3)
    wait_until(lambda: redis.exists(running.identities[0]), "the first heartbeat")
    assert jobd("processes") == exits.OK
    (row,) = capsys.readouterr().out.splitlines()[1:]
    assert row.split()[:2] == [running.identities[0], "shop"]
    assert "0 of 3" in row
    assert "running" in row
    screen = watch_until(b"0 of 3 threads busy", JOBD_REDIS_URL=redis_url)
    assert screen.startswith(b"\033[?1049h")
    assert screen.endswith(b"\033[?1049l")
    assert b"\033[1mQueues" in screen


def watch_until(wanted: bytes, **variables: str) -> bytes:
    """What `jobd mon --watch` writes to a terminal: until it shows `wanted`, and is told to end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    command = [sys.executable, "-m", "jobd", "mon", "--watch", "0.2"]
    known = {**environment(**variables), "TERM": "xterm"}
    known.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=known) as process:
        os.close(theirs)
        screen, ended = b"", False
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            screen += more
            if not ended and screen.count(wanted) > 1:
                process.send_signal(signal.SIGTERM)
                ended = True
    os.close(ours)
    assert process.returncode == exits.OK
    return screen


def interrupt() -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


def test_watching_goes_on_when_redis_has_been_away(
    jobd: Command, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer() as server:
        pauses: Iterator[Callable[[], object]] = iter([server.stop, server.start, interrupt])
        clock = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: next(pauses)()})
        monkeypatch.setattr(mon, "time", clock)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert jobd("mon", "overview", "--watch", "--redis-url", server.url) == exits.OK
    first, away, again = capsys.readouterr().out.split(mon._HOME)[1:]
    assert "processed" in first
    assert "processed" not in away
    assert str(server.socket) in away
    assert "processed" in again


def test_redis_that_cannot_be_reached_is_one_line_and_75(
    jobd: Command, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBD_REDIS_URL", "embedded:nowhere")
    for words in (["queues"], ["jobs", "dead"], ["processes"], ["stats"], ["mon"]):
        assert jobd(*words) == exits.REDIS_UNAVAILABLE
        (line,) = capsys.readouterr().err.splitlines()
        assert "no jobd runs on" in line
        assert line.endswith("nowhere")


def test_a_reader_that_goes_away_is_no_traceback(redis_url: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m jobd mon | true"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environment(JOBD_REDIS_URL=redis_url),
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""


def test_columns_are_aligned_and_cells_are_cut() -> None:
    shown = table(("name", "size"), [("a", "1"), ("bcdef", "1,000")], Style(), right=("size",))
    assert shown.splitlines() == ["name    size", "a          1", "bcdef  1,000"]
    assert cut("x" * 70) == "x" * 59 + "…"


@pytest.mark.parametrize(
    ("terminal", "variables", "colours"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(terminal: bool, variables: dict[str, str], colours: bool) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    assert Style.of(stream, variables).enabled is colours


def test_a_line_is_cut_at_the_edge_of_the_terminal_and_keeps_its_colours() -> None:
    assert mon.clip("\033[1mabcdef\033[0m", 3) == "\033[1mabc\033[0m"
    assert mon.clip("abc", 3) == "abc"


def test_a_process_is_asked_for_its_stacks(jobd: Command, redis_url: str, capsys: Captured) -> None:
    with run(WorkerConfig(redis_url=redis_url, concurrency=1, heartbeat_interval=0.02, lease=60)) as worker:
        wait_until(lambda: jobd("processes", "stacks", worker.identity) == exits.OK, "the first beat and an answer")
        assert "\njobd-default-1 (" in capsys.readouterr().out
        assert jobd("processes", "stacks", worker.identity, "--json") == exits.OK
        threads = printed(capsys)["threads"]
    assert "_bootstrap" in {frame["function"] for thread in threads for frame in thread["frames"]}
    assert jobd("processes", "stacks", "nobody") == exits.FAILED
    assert "there is no process nobody" in capsys.readouterr().err
    assert jobd("processes", "stacks") == exits.USAGE


def test_a_running_job_is_cancelled(jobd: Command, redis_url: str, capsys: Captured) -> None:
    at_work, released = threading.Event(), threading.Event()

    @job(name="monitor.works")
    def works(lingers: bool) -> None:
        try:
            while not released.wait(0.001):
                at_work.set()
        finally:
            assert not lingers or released.wait(30)

    with run(WorkerConfig(redis_url=redis_url, concurrency=1, heartbeat_interval=0.02, lease=60)):
        jid = works.perform_async(False)
        wait_until(at_work.is_set, "it at work")
        wait_until(lambda: jobd("processes", "cancel", jid) == exits.OK, "it shown, and cancelled")
        assert capsys.readouterr().out == f"{jid} was interrupted, and is in the dead set\n"
        at_work.clear()
        jid = works.perform_async(True)
        wait_until(at_work.is_set, "the next one at work")
        wait_until(lambda: jobd("processes", "cancel", jid, "--json") == exits.OK, "it shown, and asked")
        assert printed(capsys) == {"jid": jid, "state": "runs"}
        released.set()
    assert jobd("processes", "cancel", jid) == exits.FAILED
    assert f"{jid} does not run" in capsys.readouterr().err
    assert jobd("processes", "cancel") == exits.USAGE
