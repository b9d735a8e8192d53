"""Ruby's side as processes: a console that evaluates code, the command `sidekiq`, and its Web UI."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.cookiejar import CookieJar
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

RUBY = Path(__file__).parent / "ruby"
STOP_SECONDS = 15.0


class RubyError(Exception):
    """What Ruby raised."""


class RubyProcess:
    """One process of Ruby; its standard error goes to `log`, with `talks=False` what it prints as well."""

    def __init__(
        self,
        command: list[str],
        url: str,
        log: Path,
        *,
        talks: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        environment = {**os.environ, "INTEROP_URL": url, "REDIS_URL": url, "LANG": "C.UTF-8", **(variables or {})}
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=log.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if talks else errors,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"Ruby ended: {self.log.read_text()}"
        return line

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """TERM, and the exit code."""
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Kill it if it still runs; may come twice."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


class Console(RubyProcess):
    """`console("Sidekiq::Queue.new(name).size", name="mailers")`: the value of Ruby code, through JSON."""

    def __init__(self, url: str, log: Path) -> None:
        super().__init__(["ruby", str(RUBY / "console.rb")], url, log)

    def __call__(self, code: str, **values: Any) -> Any:
        """Evaluate `code`, to which `values` are local variables. Raises RubyError."""
        asked: IO[str] | None = self.process.stdin
        assert asked is not None
        asked.write(json.dumps({"code": code, "values": values}) + "\n")
        asked.flush()
        answer = json.loads(self._read_line())
        if "error" in answer:
            raise RubyError(answer["error"])
        return answer["value"]


class Sidekiq(RubyProcess):
    """The command `sidekiq` for `queues`, with the jobs of `ruby/jobs.rb`; it polls the sets every `poll` seconds."""

    def __init__(
        self, url: str, log: Path, *, queues: tuple[str, ...] = ("ruby",), poll: float = 0.1, require: str = "jobs.rb"
    ) -> None:
        flags = [word for queue in queues for word in ("-q", queue)]
        command = ["sidekiq", "-r", str(RUBY / require), "-c", "3", "-t", "3", "-e", "test", *flags]
        super().__init__(command, url, log, talks=False, variables={"INTEROP_POLL": str(poll)})


class WebPages(RubyProcess):
    """Sidekiq's Web UI, and a browser for it that keeps cookies."""

    def __init__(self, url: str, log: Path) -> None:
        super().__init__(["ruby", str(RUBY / "web.rb")], url, log)
        self._root = f"http://127.0.0.1:{int(self._read_line())}"
        # Not through whatever proxy the environment names.
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())]
        self._browser = urllib.request.build_opener(*handlers)

    def get(self, path: str) -> str:
        """The text of a page; raises HTTPError for all but 200."""
        with self._browser.open(self._root + path, timeout=20) as answer:
            text: str = answer.read().decode()
        return text

    def words(self, path: str) -> str:
        """What a page shows: its text without tags, in one line."""
        text = re.sub(r"<(script|style).*?</\1>", " ", self.get(path), flags=re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())

    def post(self, form_page: str, path: str, **fields: str | list[str]) -> str:
        """Send a form to `path` with the token that `form_page` holds; returns the page that follows."""
        token = re.search(r"name='authenticity_token' value='([^']+)'", self.get(form_page))
        assert token, f"no form in {form_page}"
        sent = {
            "authenticity_token": html.unescape(token[1]),
            **{_field(name): value for name, value in fields.items()},
        }
        return self.send(path, sent)

    def send(self, path: str, fields: Mapping[str, str | list[str]]) -> str:
        """POST fields as they are; raises HTTPError for all but 200."""
        data = urllib.parse.urlencode(fields, doseq=True).encode()
        with self._browser.open(self._root + path, data=data, timeout=20) as answer:
            text: str = answer.read().decode()
        return text


def _field(name: str) -> str:
    return "key[]" if name == "keys" else name
