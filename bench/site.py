"""A dashboard that is measured, in a process of its own: jobd's, or Sidekiq's where Ruby has it; asked over HTTP."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Processes
from bench.systems import PEERS
from bench.venvs import ROOT, Unavailable

BOOT_SECONDS = 30.0
ANSWER_SECONDS = 120.0
"""Sidekiq's pages hold a request for as long as a change of a whole set takes."""
RUBY_WEB = ROOT / "tests" / "interop" / "ruby" / "web.rb"


@dataclass(frozen=True)
class Answer:
    """What a site answered; `seconds` from the request to the last byte."""

    status: int
    seconds: float
    body: bytes
    headers: Mapping[str, str]


class Site:
    """A dashboard on a port of the loopback. Every request has a connection of its own, as WEBrick wants it."""

    def __init__(self, name: str, version: str, processes: Processes, port: int) -> None:
        self.name, self.version, self.processes, self.port = name, version, processes, port

    def cpu(self) -> float:
        """CPU seconds that its process has used."""
        return self.processes.cpu()

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """GET, or POST of `body`. Raises OSError without an answer in so many seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.connect()
            started = time.perf_counter()
            connection.request("GET" if body is None else "POST", path, body, dict(headers or {}))
            answer = connection.getresponse()
            content = answer.read()
            took = time.perf_counter() - started
            return Answer(answer.status, took, content, {name.lower(): value for name, value in answer.getheaders()})
        finally:
            connection.close()


@contextmanager
def jobds(url: str, *, totals_age: float | None = None) -> Iterator[Site]:
    """`jobd web` for the Redis at `url`."""
    changed = {} if totals_age is None else {"BENCH_TOTALS_AGE": str(totals_age)}
    command = [sys.executable, str(PEERS / "dashboard_app.py"), "--bind", "127.0.0.1:0"]
    environment = {**_kept(), "PYTHONPATH": str(ROOT), "JOBD_REDIS_URL": url, **changed}
    with _running(command, environment, r"http://127\.0\.0\.1:(\d+)/") as (processes, port):
        yield Site("jobd", "", processes, port)


@contextmanager
def sidekiqs(url: str) -> Iterator[Site]:
    """Sidekiq's Web UI for the Redis at `url`, in WEBrick. Raises Unavailable."""
    environment = {**_kept(), "INTEROP_URL": url, "REDIS_URL": url, "LANG": "C.UTF-8"}
    with _running(["ruby", str(RUBY_WEB)], environment, r"^(\d+)$") as (processes, port):
        yield Site("Sidekiq", sidekiq_version(), processes, port)


def sidekiq_version() -> str:
    """That of the Sidekiq whose Web UI Ruby can load. Raises Unavailable."""
    code = 'require "sidekiq"; require "sidekiq/web"; require "rack/handler/webrick"; print Sidekiq::VERSION'
    try:
        done = subprocess.run(["ruby", "-e", code], capture_output=True, text=True, check=False)
    except OSError as error:
        raise Unavailable(f"its Web UI: {error}; apt-get install ruby-sidekiq ruby-webrick") from None
    if done.returncode:
        raise Unavailable("Ruby cannot load its Web UI: apt-get install ruby-sidekiq ruby-webrick")
    return done.stdout


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], told: str) -> Iterator[tuple[Processes, int]]:
    """The program, with the port that it prints."""
    with tempfile.TemporaryDirectory(prefix="jobd-bench-") as directory:
        processes = Processes([command], Path(directory), environment)
        try:
            yield processes, _port(processes, re.compile(told, re.MULTILINE))
        finally:
            processes.kill()


def _port(processes: Processes, told: re.Pattern[str]) -> int:
    deadline = time.monotonic() + BOOT_SECONDS
    while not (found := told.search(processes.log.read_text(errors="replace"))):
        processes.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"it has not said where it listens:\n{processes.log.read_text()[-2000:]}")
        time.sleep(0.01)
    return int(found[1])


def _kept() -> dict[str, str]:
    """The environment, without what would be taken for settings of a dashboard."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("JOBD_", "REDIS_"))}
