"""`jobd ctl`: asks a running jobd through its control socket, and says what came of it.

What a request does is up to the master. The protocol is in `control.py`, the words for a status in `status_text.py`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from jobd.client.errors import ConfigError
from jobd.supervisor import exits
from jobd.supervisor.config import Config
from jobd.supervisor.control_path import find_socket
from jobd.supervisor.pidfile import Owner
from jobd.supervisor.request import Verdict
from jobd.supervisor.status_text import describe, printable

_CONNECT_PAUSE = 0.05
"""Seconds between two attempts while the master has too many connections to accept."""


def pidfile_of(config: Config) -> Path:
    """The pidfile of a configuration. Raises ConfigError when it has none."""
    if config.pidfile is None:
        raise ConfigError("ctl: no pidfile is known; name it with -P, or a file with `pidfile:` with -C")
    return Path(config.pidfile)


def run(pidfile: Path, name: str, count: int | None, *, wait: bool, timeout: float | None, as_json: bool) -> int:
    """Have the jobd of `pidfile` do `name` (with `count`: scale), and print what it says; returns the exit code.

    It returns with the answer, with `wait` when all is done. `timeout` is the seconds that this may take, None for no
    limit. `as_json` prints one JSON document, not words. Raises ConfigError when the socket's place is a stranger's.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    try:
        with contextlib.closing(_Master(pidfile.absolute(), deadline)) as master:
            master.ask(name, count)
            if name == "status":
                return _print_status(master.reply("status"), as_json)
            return _print_verdicts(_verdicts(master, stops=name == "stop", wait=wait), as_json)
    except _Failed as failure:
        exits.complain(printable(str(failure)))
        return failure.code
    except TimeoutError:
        exits.complain(f"{name}: not done within {timeout:g} s; what jobd has begun goes on")
        return exits.NOT_IN_TIME


def _verdicts(master: _Master, *, stops: bool, wait: bool) -> Iterator[Verdict]:
    """The answer, and when waiting the outcome, if that says more."""
    answer = None
    try:
        answer = _verdict(master.reply("answer"))
        yield answer
        if not (wait and answer.ok):
            return
        outcome = _verdict(master.reply("outcome"))
    except _Ended:
        if not (stops and wait):
            raise
        outcome = Verdict(True, "")
    if stops and outcome.ok:
        master.wait_for_end()
        outcome = Verdict(True, f"{master.title} has ended")
    if outcome != answer:
        yield outcome


def _verdict(reply: Any) -> Verdict:
    try:
        return msgspec.convert(reply, Verdict)
    except msgspec.ValidationError as error:
        raise _unknown_form() from error


def _print_verdicts(verdicts: Iterator[Verdict], as_json: bool) -> int:
    last = Verdict(True, "")
    for last in verdicts:
        if not as_json and last.ok:
            print(printable(last.text), flush=True)
    if as_json:
        print(json.dumps({"ok": last.ok, "text": last.text}))
    elif not last.ok:
        exits.complain(printable(last.text))
    return exits.OK if last.ok else exits.FAILED


def _print_status(status: Mapping[str, Any], as_json: bool) -> int:
    try:
        print(json.dumps(status) if as_json else describe(status))
    except (KeyError, TypeError, AttributeError) as error:
        raise _unknown_form() from error
    return exits.OK


class _Failed(Exception):
    """Nothing came of it: why, and the exit code that says so."""

    code = exits.FAILED


class _NoMaster(_Failed):
    """Nobody is there to be asked."""

    code = exits.NO_MASTER


class _Ended(_Failed):
    """The master has closed the connection."""


def _unknown_form() -> _Failed:
    return _Failed("the answer has a form that this version of jobd does not know; is the running one another version?")


class _Master:
    """The master of a pidfile, asked once; whatever waits raises TimeoutError at `deadline` (monotonic seconds)."""

    def __init__(self, pidfile: Path, deadline: float) -> None:
        self._pidfile, self._deadline = pidfile, deadline
        self._owner = Owner.of(pidfile)
        self.title = f"jobd (pid {self._owner.pid})" if self._owner else f"jobd with pidfile {pidfile}"
        # A handle of the process: another one may have its pid by the time that it has ended.
        self._process = _handle(self._owner)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._unread = b""
        try:
            self._connect(find_socket(pidfile))
        except BaseException:
            self.close()
            raise

    def ask(self, name: str, count: int | None) -> None:
        """Send the request."""
        asked = {"do": name} if count is None else {"do": name, "count": count}
        # What the master said before it closed the connection can still be read.
        with contextlib.suppress(ConnectionError):
            self._socket.settimeout(self._remaining())
            self._socket.sendall(json.dumps(asked).encode() + b"\n")

    def reply(self, kind: str) -> Any:
        """The next reply, which is to be of this kind. Raises _Failed, and _Ended if there is none any more."""
        line = self._line()
        try:
            reply = json.loads(line)
            if "refused" in reply:
                raise _Failed(str(reply["refused"]))
            return reply[kind]
        except (ValueError, TypeError, KeyError) as error:
            raise _unknown_form() from error

    def wait_for_end(self) -> None:
        """Wait until the process is gone, and not just its socket."""
        if self._process is not None and not select.select([self._process], [], [], self._remaining())[0]:
            raise TimeoutError

    def close(self) -> None:
        """End the connection; what was asked for goes on."""
        self._socket.close()
        if self._process is not None:
            os.close(self._process)

    def _connect(self, path: Path) -> None:
        while True:
            try:
                self._socket.settimeout(self._remaining())
                self._socket.connect(os.fspath(path))
                return
            except BlockingIOError:
                time.sleep(_CONNECT_PAUSE)
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
                raise self._nobody(path) from error
            except PermissionError as error:
                raise _Failed(
                    f"uid {os.geteuid()} may not use {path}; only the user that runs jobd, and root, may"
                ) from error

    def _nobody(self, path: Path) -> _NoMaster:
        if self._owner and self._process is not None:
            return _NoMaster(
                f"{self.title} runs, but nobody listens at {path}: it is about to start or to end, or the socket was "
                f"removed; signals reach it (kill -TERM {self._owner.pid})"
            )
        return _NoMaster(f"no jobd runs with pidfile {self._pidfile}; start it, or name another pidfile with -P")

    def _line(self) -> bytes:
        while b"\n" not in self._unread:
            self._socket.settimeout(self._remaining())
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                raise _Ended(f"{self.title} has closed the connection: it has ended, or its log says why")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _remaining(self) -> float | None:
        if self._deadline == math.inf:
            return None
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining


def _handle(owner: Owner | None) -> int | None:
    """A descriptor that becomes ready when that very process ends; None when it does not run, or not in sight."""
    if owner is None:
        return None
    try:
        handle = os.pidfd_open(owner.pid)
    except (OSError, OverflowError):
        return None
    # Asked for only now: whoever the handle is of keeps its pid as long as it lives.
    if owner.alive:
        return handle
    os.close(handle)
    return None
