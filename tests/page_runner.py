"""Does what a reader of one Markdown page would do, block after block, in the current directory.

`python page_runner.py PAGE REDIS_URL` ends with 0 when everything worked; a test runs it as a program, so that a page
has a process, a directory and modules of its own. A block's info string says what becomes of it:

- `python`: runs in one module a page;
- `python` or `yaml` whose first line is `# path/to/file`: is written to that file;
- `sh`: runs in bash; an `export NAME=value` holds for the `sh` and `python` blocks below;
- `sh terminal`: one command that stays in the foreground of a terminal of its own, without those exports. It must say
  that it is ready, and end with 0 on TERM once the page is through;
- `text log`: for each line, the open terminals must print one with the same event and the same `name=value` words;
- anything else is only read.

`$JOBD_REDIS_URL` is REDIS_URL, unless the page says itself where Redis is; the default address, where a page
writes it, stands for REDIS_URL too, and the usual address of metrics for one that is free. Where there is no curl,
Python stands in for it.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

BLOCK = re.compile(r"^```(\S+(?: \S+)*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w./-]+\.(?:py|ya?ml))\n")
EXPORT = re.compile(r"^export (\w+)=(\S+)$", re.MULTILINE)
OWN_ADDRESS = re.compile(r"redis_url|REDIS_URL")
DEFAULT_ADDRESS = "redis://localhost:6379/0"
METRICS_ADDRESS = "127.0.0.1:9394"
CURL = """
command -v curl >/dev/null || curl() {
  python3 -c 'import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[-1]).read().decode())' "$@"
}
"""
NOT_RUN = (
    re.compile(r"make (demo|test)"),
    re.compile(r"pip install .+"),
    re.compile(r"python3 -m venv \.venv"),
    re.compile(r"\. \.venv/bin/activate"),
    re.compile(r"mkdir \w+ && cd \w+"),
    re.compile(r"(sudo )?systemctl .+"),
    re.compile(r"(sudo )?cp .+ /etc/systemd/system/.+"),
    re.compile(r"(sudo )?journalctl .+"),
)
"""Lines of `sh` blocks that need a network or a machine of their own; other tests look at what they name."""
READY = b"process.ready"
WAIT_SECONDS = 15.0


@dataclass(frozen=True)
class Block:
    """One fenced block: its info string, its text, and the page's line on which that begins."""

    info: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that it is to be written to."""
        found = FILE.match(self.text) if self.info in ("python", "yaml") else None
        return found[1] if found else None


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for found in BLOCK.finditer(text):
        yield Block(found[1], found[2], text.count("\n", 0, found.start(2)))


def free_address() -> str:
    """A host and port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return "{}:{}".format(*found.getsockname())


def is_run(line: str) -> bool:
    """Is this line of an `sh` block run by the tests?"""
    return not any(each.fullmatch(line.strip()) for each in NOT_RUN)


class Terminal:
    """A command in the foreground of a terminal of its own."""

    def __init__(self, command: str, environment: Mapping[str, str]) -> None:
        self.command, self.output = command, b""
        self._process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", f"exec env {command}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._process.stdout
        self._fd = self._process.stdout.fileno()

    def wait_for_line(self, words: Sequence[bytes]) -> None:
        """Wait until one line of the output holds all of `words`."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not any(all(word in line.split() for word in words) for line in self.output.splitlines()):
            if not select.select([self._fd], [], [], max(deadline - time.monotonic(), 0))[0] or not self._read():
                shown = self.output.decode(errors="replace")
                raise AssertionError(f"no line with {words} from `{self.command}`:\n{shown}")

    def stop(self) -> str:
        """Send TERM; returns what is wrong unless the command ends with 0."""
        self._process.send_signal(signal.SIGTERM)
        while select.select([self._fd], [], [], WAIT_SECONDS)[0] and self._read():
            pass
        try:
            code: int | str = self._process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = f"SIGKILL, {WAIT_SECONDS:g} s after TERM"
        return "" if code == 0 else f"`{self.command}` ended with {code}:\n{self.output.decode(errors='replace')}"

    def _read(self) -> bytes:
        data = os.read(self._fd, 65536)
        self.output += data
        return data


class Page:
    """A page under way: its module, its exported variables, its open terminals."""

    def __init__(self, path: Path, redis_url: str) -> None:
        self._path, self._redis_url = path, redis_url
        self._module = ModuleType(f"page_{path.stem.replace('-', '_')}")
        sys.modules[self._module.__name__] = self._module
        self._metrics = free_address()
        self._terminals: list[Terminal] = []
        self._first_environment: Mapping[str, str] = {}

    def run(self) -> int:
        """Do everything that the page says; returns the number of blocks that were carried out."""
        found = list(blocks(self._path.read_text()))
        if not any(OWN_ADDRESS.search(block.text) for block in found if block.info != "text"):
            os.environ["JOBD_REDIS_URL"] = self._redis_url
        self._first_environment = dict(os.environ)
        try:
            done = sum(self._carry_out(block) for block in found)
        finally:
            problems = [terminal.stop() for terminal in self._terminals]
        assert not any(problems), "\n".join(problems)
        return done

    def _carry_out(self, block: Block) -> bool:
        text = block.text.replace(DEFAULT_ADDRESS, self._redis_url).replace(METRICS_ADDRESS, self._metrics)
        match block.info:
            case "python" | "yaml" if block.file:
                Path(block.file).parent.mkdir(parents=True, exist_ok=True)
                Path(block.file).write_text(text)
            case "python":
                # Empty lines above, so that a traceback shows the page's own.
                exec(compile("\n" * block.line + text, str(self._path), "exec"), self._module.__dict__)
            case "sh":
                self._run_shell(text)
            case "sh terminal":
                self._terminals.append(Terminal(text.strip(), self._first_environment))
                self._terminals[-1].wait_for_line([READY])
            case "text log":
                for line in text.splitlines():
                    self._expect(line)
            case _:
                return False
        return True

    def _run_shell(self, text: str) -> None:
        script = CURL + "\n".join(line for line in text.splitlines() if is_run(line))
        subprocess.run(["bash", "-euo", "pipefail", "-c", script], stdin=subprocess.DEVNULL, check=True)
        os.environ.update(EXPORT.findall(script))

    def _expect(self, line: str) -> None:
        """Of a log line the time, the pid, ids and measured values differ from run to run."""
        _, _, level, event, *values = shlex.split(line)
        named: dict[str, Any] = dict(value.split("=", 1) for value in values if "=" in value)
        fixed = [f"{key}={value}" for key, value in named.items() if key in ("job", "queue", "attempt", "jobs")]
        self._terminals[-1].wait_for_line([word.encode() for word in (level, event, *fixed)])


def main(page: str, redis_url: str) -> None:
    """Carry out the page; raises where it does not work."""
    sys.path[0] = os.getcwd()
    print(Page(Path(page), redis_url).run(), "blocks")


if __name__ == "__main__":
    main(*sys.argv[1:])
