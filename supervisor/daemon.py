"""Running in the background: the caller waits until the daemon is ready, or learns what went wrong.

The daemon talks to its caller by lines of JSON in a pipe: its pid first, then one last word. python-daemon detaches it;
what it must not change (directory, umask, signals, core files) is told to it here.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

import psutil
from daemon import DaemonContext

from jobd.client.errors import JobdError
from jobd.supervisor import exits
from jobd.supervisor.signals import SignalPipe

MARGIN = 5.0
"""Seconds after `boot_timeout` for which the caller still waits: the daemon knows better what is late."""
_ENDS_THE_WAIT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_KILLED_BY = 128
"""A shell's exit code for a signal is this and its number."""


class HasFileno(Protocol):
    """An open file, or whatever else stands for a descriptor."""

    def fileno(self) -> int: ...


class Starting:
    """What a daemon tells its caller: its pid, then that it is ready or why not. After the last word nothing is sent.

    Until then standard output and error are those of the caller, afterwards the log.
    """

    def __init__(self, fd: int, log_fd: Callable[[], int]) -> None:
        self._fd: int | None = fd
        self._log_fd = log_fd

    def pid_known(self) -> None:
        """This process is the daemon: it is the one to stop."""
        self._tell({"pid": os.getpid()})

    def ready(self) -> None:
        """It works: the caller may go."""
        self._last_word({"code": exits.OK, "text": ""})

    def failed(self, code: int, text: str) -> None:
        """It cannot start: the caller prints `text` and exits with `code`."""
        self._last_word({"code": code, "text": text})

    def after_fork_in_child(self) -> None:
        """Let go of the caller in a process that the daemon has forked; what that prints goes to the log at once.

        Otherwise the caller could not see the daemon's end, nor a shell's `$(…)` that of its output.
        """
        self._close()
        send_output_to(self._log_fd())

    def _last_word(self, word: Mapping[str, object]) -> None:
        if self._fd is not None:
            send_output_to(self._log_fd())  # before the caller goes: it must leave nothing of its own behind
            self._tell(word)
            self._close()

    def _tell(self, word: Mapping[str, object]) -> None:
        if self._fd is None:
            return
        data = json.dumps(word).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # a caller that was killed needs no answer
            while data:
                data = data[os.write(self._fd, data) :]

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Foreground:
    """Stands for `Starting` where nobody waits: what goes wrong is printed to standard error."""

    def pid_known(self) -> None:
        """Nobody asks."""

    def ready(self) -> None:
        """Nobody waits."""

    def failed(self, code: int, text: str) -> None:
        """Print `text`."""
        exits.complain(text)

    def after_fork_in_child(self) -> None:
        """There is nothing to let go of."""


def under_systemd(environ: Mapping[str, str]) -> bool:
    """Whether systemd waits for a notification of this very process, which therefore must not detach."""
    return bool(environ.get("NOTIFY_SOCKET"))


def send_output_to(fd: int) -> None:
    """Make standard output and error of this process go where `fd` goes."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        os.dup2(fd, stream.fileno())


def detach(
    main: Callable[[Starting], int],
    *,
    boot_timeout: float,
    keep: Sequence[int | HasFileno],
    logfile: Path,
    log_fd: Callable[[], int],
) -> int:
    """Run `main` in a daemon; returns the caller's exit code once the daemon is ready or has failed.

    `main` calls `ready` or `failed` of what it is given and returns the daemon's exit code. In the daemon this function
    does not return: it raises SystemExit with that code, or the error of `main`, of which the caller is told. Of all
    open files the daemon has those of `keep` and the log, at `log_fd()`; `logfile` is what messages call it. Working
    directory, umask, signal handlers and limits stay as they are; standard input is /dev/null.

    The caller waits `boot_timeout` seconds and MARGIN; then, or when it is interrupted, it sends TERM to the daemon.
    Its exit code is 0, the daemon's, 70 when that said nothing, or 128 and the number of the signal.
    Raises RuntimeError when this process has threads. It must not hold a connection either.
    """
    _refuse_threads()
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    read_end, write_end = os.pipe()
    # Ctrl-C reaches whoever is still in the session of the terminal; it is for the caller alone.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS_THE_WAIT)
    if os.fork() == 0:
        _be_daemon(main, Starting(write_end, log_fd), [*keep, write_end, log_fd()], mask, logfile)
    os.close(write_end)
    signals = SignalPipe(number for number in _ENDS_THE_WAIT if signal.getsignal(number) != signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return _Wait(read_end, signals, logfile).until_told(boot_timeout + MARGIN)


def _refuse_threads() -> None:
    threads = psutil.Process().num_threads()
    if threads > 1:
        raise RuntimeError(
            f"cannot detach: this process has {threads} threads and a fork keeps one; detach before any other starts"
        )


def _open_missing_streams() -> None:
    """Started with `<&-` or `2>&-` a process has no such stream, and the next file opened would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (open for good)


def _be_daemon(
    main: Callable[[Starting], int],
    starting: Starting,
    keep: list[int | HasFileno],
    mask: Iterable[int],
    logfile: Path,
) -> NoReturn:
    try:
        _leave_session(keep)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        starting.pid_known()
        code = main(starting)
    except Exception as error:
        starting.failed(*_account_of(error))
        raise
    starting.failed(code or exits.CHILDREN_CANNOT_BOOT, f"the daemon ended before it was ready; {_see(logfile)}")
    raise SystemExit(code)


def _leave_session(keep: list[int | HasFileno]) -> None:
    mask = os.umask(0)
    os.umask(mask)
    with open(os.devnull) as null:
        DaemonContext(
            detach_process=True,  # by default it stays where its parent is init or its input a socket
            working_directory=os.curdir,  # never `/`: relative paths hold, also in a directory without a name by now
            umask=mask,
            signal_map={},  # by default TSTP is ignored and TERM an exception
            prevent_core=False,
            files_preserve=keep,
            stdin=null,
            stdout=sys.stdout,
            stderr=sys.stderr,
        ).open()


def _account_of(error: Exception) -> tuple[int, str]:
    """The exit code for an error of the daemon, and what its caller is told."""
    if isinstance(error, JobdError):
        return exits.code_for(error), str(error)
    return exits.CHILDREN_CANNOT_BOOT, "".join(traceback.format_exception(error)).rstrip()


class _Wait:
    """The caller's side: listens until the daemon's last word, its end, a signal or a deadline."""

    def __init__(self, fd: int, signals: SignalPipe, logfile: Path) -> None:
        os.set_blocking(fd, False)
        self._fd, self._signals, self._logfile = fd, signals, logfile
        self._pid: int | None = None
        self._interrupted: signal.Signals | None = None
        self._unread = b""
        self._ended = False

    def until_told(self, seconds: float) -> int:
        """The exit code, at the latest in so many seconds."""
        deadline = time.monotonic() + seconds
        code: int | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(self._fd, selectors.EVENT_READ)
            selector.register(self._signals.fd, selectors.EVENT_READ)
            while code is None:
                # A caller that was suspended wakes up late and without a look at what has come: hence the second one.
                heard = selector.select(max(0.0, deadline - time.monotonic())) or selector.select(0)
                code = self._listen() if heard else self._give_up(seconds)
        return code

    def _listen(self) -> int | None:
        """Take in what has come; the exit code, if it is known by now."""
        for number in self._signals.read():
            self._interrupted = self._interrupted or number
        last_word = self._read()
        if self._interrupted and (self._pid or self._ended):
            self._stop_daemon()
            return _KILLED_BY + self._interrupted
        if last_word:
            exits.complain(last_word["text"])
            return int(last_word["code"])
        if self._ended:
            exits.complain(f"the daemon ended without a word; {_see(self._logfile)}")
            return exits.CHILDREN_CANNOT_BOOT
        return None

    def _read(self) -> dict[str, Any] | None:
        """Note the daemon's pid or end; returns its last word, if that came."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return None
        self._ended = not data
        *lines, self._unread = (self._unread + data).split(b"\n")
        last_word = None
        for word in map(json.loads, lines):
            if "pid" in word:
                self._pid = word["pid"]
            else:
                last_word = word
        return last_word

    def _give_up(self, seconds: float) -> int:
        self._stop_daemon()
        who = "the daemon" if self._pid is None else f"the daemon, process {self._pid},"
        exits.complain(f"{who} was not ready within {seconds:g} s and has been told to stop; {_see(self._logfile)}")
        return exits.CHILDREN_CANNOT_BOOT

    def _stop_daemon(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)


def _see(logfile: Path) -> str:
    return f"its log may say why: {logfile}"
