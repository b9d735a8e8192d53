"""`jobd web` as a process: the dashboard over HTTP, its stream of events, its end."""

from __future__ import annotations

import http.client
import io
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from redis import Redis
from starlette.applications import Starlette

from jobd.supervisor import web_server
from jobd.supervisor.cli import main
from jobd.worker import log
from tests.supervisor.jobd_command import CONSTANTS, QUICK, environment
from tests.waiting import wait_until

SHORT = {"jobd.web.live.PAUSE": 0.2, "jobd.web.context.MAX_AGE": 0.0, "jobd.web.context.READ_SECONDS": 0.0}


class Web:
    """A running `jobd web` on a free port."""

    def __init__(self, directory: Path, *args: str, **variables: str) -> None:
        self.log = directory / "web.log"
        self._open: list[http.client.HTTPConnection | http.client.HTTPResponse] = []
        with self.log.open("wb") as log:
            command = [sys.executable, str(QUICK), "web", "--bind", "127.0.0.1:0", *args]
            known = environment(**{CONSTANTS: json.dumps(SHORT)}, **variables)
            self.process = subprocess.Popen(command, cwd=directory, env=known, stderr=log)
        try:
            wait_until(lambda: self.port or self.process.poll() is not None, "it is ready", 60)
            assert self.port, self.log.read_text()
        except AssertionError:
            self.kill()
            raise

    @property
    def port(self) -> int:
        """Where it listens, 0 before that."""
        found = re.search(r"web\.ready: http://127\.0\.0\.1:(\d+)/", self.log.read_text())
        return int(found[1]) if found else 0

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> http.client.HTTPResponse:
        """Send a request; the answer may still be on its way."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, sent)
        answer = connection.getresponse()
        self._open += [answer, connection]
        return answer

    def stop(self) -> int:
        """Stop it; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def kill(self) -> None:
        """Leave nothing of it behind."""
        for each in self._open:
            each.close()
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def start(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., Web]]:
    """Starts `jobd web`; what a test leaves running is killed."""
    started: list[Web] = []

    def run(*args: str, **variables: str) -> Web:
        started.append(Web(tmp_path, "--redis-url", redis_url, *args, **variables))
        return started[-1]

    yield run
    for web in started:
        web.kill()


def event(stream: http.client.HTTPResponse) -> dict[str, float]:
    """The next event of a stream."""
    while True:
        line = stream.readline()
        assert line, "the stream ended"
        if line.startswith(b"data: "):
            found: dict[str, float] = json.loads(line[6:])
            return found


def test_it_serves_pages_changes_and_events_and_ends_with_zero_on_term(start: Callable[..., Web], redis: Redis) -> None:
    web = start()
    page = web.ask("GET", "/")
    assert (page.status, b"No worker is running" in page.read()) == (200, True)
    form = {"content_type": "application/x-www-form-urlencoded", "origin": f"http://127.0.0.1:{web.port}"}
    assert web.ask("POST", "/queues/low", "action=pause", **form).status == 303
    assert redis.smembers("paused") == {b"low"}
    assert web.ask("POST", "/queues/low", "action=resume", content_type=form["content_type"]).status == 403
    assert web.ask("GET", "/", host="evil.test").status == 403
    assert '"user": "-"' in web.log.read_text()
    streams = [web.ask("GET", "/live") for _ in range(5)]
    assert {event(stream)["retries"] for stream in streams} == {0}
    redis.zadd("retry", {"{}": 1.0})
    wait_until(lambda: event(streams[0])["retries"] == 1, "the stream tells of the retry")
    began = time.time()
    redis.config_resetstat()
    for _ in range(3):
        wait_until(lambda: event(streams[0])["now"] > began, "the stream goes on")
    told: dict[str, dict[str, int]] = redis.info("commandstats")
    pause = SHORT["jobd.web.live.PAUSE"]
    assert 1 <= told["cmdstat_mget"]["calls"] <= (time.time() - began) / pause + 2, "five who look cost what one does"
    assert web.stop() == 0
    assert "Traceback" not in web.log.read_text()


def test_a_password_of_the_environment_is_asked_for_and_read_only_is_kept(start: Callable[..., Web]) -> None:
    web = start("--root-path", "/jobs", JOBD_WEB_TOKEN="t0ken", JOBD_WEB_READ_ONLY="1")
    assert web.ask("GET", "/").status == 401
    page = web.ask("GET", "/queues", authorization="Bearer t0ken", host="any.test")
    assert (page.status, b'href="/jobs/queues"' in page.read()) == (200, True)
    answer = web.ask("POST", "/api/v1/queues/x", "{}", authorization="Bearer t0ken", content_type="application/json")
    assert answer.status == 405


@pytest.mark.parametrize(
    ("args", "variables", "code", "complaint"),
    [
        (("--bind", "0.0.0.0:0"), {}, 78, "set JOBD_WEB_USER and JOBD_WEB_PASSWORD"),
        (("--bind", "[::]:0"), {}, 78, "whoever reaches it could look at all jobs"),
        (("--bind", ":7433"), {}, 78, "or bind to 127.0.0.1"),
        ((), {"JOBD_WEB_USER": "ann"}, 78, "JOBD_WEB_PASSWORD is not set"),
        ((), {"JOBD_WEB_READ_ONLY": "maybe"}, 78, "JOBD_WEB_READ_ONLY is 'maybe'; write 1 or 0"),
        (("--bind", "nonsense"), {"JOBD_WEB_TOKEN": "x"}, 78, "must be host and port"),
        (("--trusted-origin", "ops.example.com"), {}, 78, "ops.example.com must be an origin"),
        (("--host", "ops.example.com:80"), {}, 78, "must be the name of a host without a port"),
        (("--root-path", "jobs"), {}, 78, "root_path must be the path that a proxy takes away"),
    ],
)
def test_it_refuses_what_is_not_safe_or_makes_no_sense(
    args: tuple[str, ...],
    variables: dict[str, str],
    code: int,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("USER", "PASSWORD", "TOKEN", "READ_ONLY"):
        monkeypatch.delenv(f"JOBD_WEB_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["web", *args]) == code
    assert complaint in capsys.readouterr().err


def test_its_socket_goes_with_it(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "web.sock"

    def serve(app: object, listener: socket.socket, **_: object) -> None:
        assert path.exists()
        listener.close()

    monkeypatch.setattr(web_server, "serve", serve)
    assert main(["web", "--redis-url", redis_url, "--bind", str(path)]) == 0
    assert not path.exists()


@pytest.fixture
def in_this_process() -> Iterator[None]:
    """A server that is run here leaves neither its handlers of signals nor the loggers of uvicorn as it set them."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    loggers = [logging.getLogger(f"uvicorn{name}") for name in ("", ".error", ".access")]
    states = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for each, (before, level, propagate) in zip(loggers, states, strict=True):
        each.handlers[:], each.propagate = before, propagate
        each.setLevel(level)


def test_a_stop_while_it_starts_is_none_too_early(monkeypatch: pytest.MonkeyPatch, in_this_process: None) -> None:
    stopped = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            server.should_exit = False
            signal.raise_signal(number)
            stopped.append(server.should_exit)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr(web_server, "_calm_the_collector", lambda: None)
    with socket.socket() as listener:
        web_server.serve(Starlette(), listener)
    assert stopped == [True, True]


def test_a_warning_of_the_server_is_a_line_of_jobd_wherever_its_log_goes() -> None:
    web_server.server_of(Starlette())
    for stream in (io.StringIO(), io.StringIO()):
        log.install("plain", "info", stream)
        logging.getLogger("uvicorn.error").warning("as it says")
        assert stream.getvalue().count("as it says") == 1


def test_without_the_extra_it_names_it(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'starlette' else real(name, *rest)\n"
        "from jobd.supervisor.cli import main; raise SystemExit(main(['web']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "needs the extra `web`: pip install '.[web]'" in done.stderr
