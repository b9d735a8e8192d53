"""A dashboard that is measured, in a process of its own: jobd's, or Sidekiq's where Ruby has it; asked over HTTP."""

from __future__ import annotations

import html
import http.client
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bench.processes import Processes
from bench.systems import PEERS
from bench.venvs import ROOT

BOOT_SECONDS = 30.0
ANSWER_SECONDS = 120.0
"""A dashboard may hold a request for as long as the change of a whole set takes."""
RUBY_WEB = ROOT / "tests" / "interop" / "ruby" / "web.rb"


@dataclass(frozen=True)
class Answer:
    """What a site answered; `seconds` from the request to the last byte."""

    status: int
    seconds: float
    body: bytes
    headers: Mapping[str, str]


class Site:
    """A dashboard on a port of the loopback; each request has a connection of its own."""

    def __init__(self, processes: Processes, port: int) -> None:
        self.processes, self.port = processes, port

    def cpu(self) -> float:
        """CPU seconds that its process has used."""
        return self.processes.cpu()

    def page(self, path: str) -> Answer:
        """A page that is there. Raises RuntimeError for any other answer."""
        answer = self.ask(path)
        if answer.status != 200:
            raise RuntimeError(f"{path} is answered by {answer.status}: {answer.body[:200]!r}")
        return answer

    def retry_all(self) -> None:
        """Have all jobs that failed run again; it may go on after the answer."""
        body = json.dumps({"action": "retry", "all": "yes", "confirmed": "yes"}).encode()
        sent = {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{self.port}"}
        answer = self.ask("/api/v1/retries", body, sent)
        if answer.status not in (200, 202):
            raise RuntimeError(f"the retry is answered by {answer.status}: {answer.body[:200]!r}")

    def ask(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """GET, or POST of `body`. Raises OSError without an answer in ANSWER_SECONDS."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
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


class SidekiqSite(Site):
    """The Web UI of Sidekiq."""

    def retry_all(self) -> None:
        form = self.page("/retries")
        token = re.search(rb"name='authenticity_token' value='([^']+)'", form.body)
        if token is None:
            raise RuntimeError("its page of retries has no form")
        body = urlencode({"authenticity_token": html.unescape(token[1].decode())}).encode()
        cookie = form.headers.get("set-cookie", "").partition(";")[0]
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
        if (answer := self.ask("/retries/all/retry", body, sent)).status != 302:
            raise RuntimeError(f"the retry is answered by {answer.status}: {answer.body[:200]!r}")


@contextmanager
def jobds(url: str, *, totals_age: float | None = None) -> Iterator[Site]:
    """`jobd web` for the Redis at `url`."""
    changed = {} if totals_age is None else {"BENCH_TOTALS_AGE": str(totals_age)}
    command = [sys.executable, str(PEERS / "dashboard_app.py"), "--bind", "127.0.0.1:0"]
    environment = {**_kept(), "PYTHONPATH": str(ROOT), "JOBD_REDIS_URL": url, **changed}
    with _running(command, environment, r"http://127\.0\.0\.1:(\d+)/") as (processes, port):
        yield Site(processes, port)


@contextmanager
def sidekiqs(url: str) -> Iterator[Site]:
    """Sidekiq's Web UI for the Redis at `url`, in WEBrick; apt-get install ruby-sidekiq ruby-webrick."""
    environment = {**_kept(), "INTEROP_URL": url, "REDIS_URL": url, "LANG": "C.UTF-8"}
    with _running(["ruby", str(RUBY_WEB)], environment, r"^(\d+)$") as (processes, port):
        yield SidekiqSite(processes, port)


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
