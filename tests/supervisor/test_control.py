"""The control socket as its clients see it. Its loop turns by hand, so time passes only where a test lets it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd.client.errors import ConfigError
from jobd.supervisor.control import LONGEST_LINE, MOST_CLIENTS, PATIENCE, PAUSE, Control
from jobd.supervisor.loop import Loop
from jobd.supervisor.request import Refused, Request, Verdict
from jobd.worker import log
from tests.descriptors import no_new_descriptors
from tests.supervisor.control_server import STATUS, FakeCommands, Server

OK = Verdict(True, "as you say")
ANSWER = {"answer": {"ok": True, "text": "as you say"}}
DONE = {"outcome": {"ok": True, "text": "done"}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with contextlib.closing(Server(tmp_path / "jobd.pid")) as serving:
        yield serving


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(log.logger, "propagate", True)
    caplog.set_level(logging.INFO, "jobd")
    return caplog


def test_a_status_is_told_and_the_connection_ends(server: Server) -> None:
    client = server.ask("status")
    assert client.replies() == [{"status": STATUS}]
    assert client.ended


def test_a_request_is_told_its_answer_and_its_outcome_as_they_become_known(server: Server) -> None:
    client = server.ask("scale", count=4)
    assert server.commands.asked == [("scale", 4)]
    assert client.replies() == []
    request = server.commands.requests["scale"]
    request.answer = OK
    server.turn()
    assert client.replies() == [ANSWER]
    server.turn(3600.0)
    assert (client.replies(), client.ended) == ([], False)
    request.end(True, "done")
    server.turn()
    assert client.replies() == [DONE]
    assert client.ended


def test_what_is_known_at_once_is_told_at_once(server: Server) -> None:
    server.commands.requests["quiet"] = Request(OK, Verdict(True, "done"))
    client = server.connect(b'{"do": "quiet"}\n')
    server.loop.wait(1)
    server.loop.wait(1)
    assert client.replies() == [ANSWER, DONE]


def test_a_refusal_is_told_in_its_words(server: Server) -> None:
    server.commands.refusals["restart"] = Refused("one is under way")
    client = server.ask("restart")
    assert client.replies() == [{"refused": "one is under way"}]
    assert client.ended


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"stop",
        b'{"do": "frobnicate"}',
        b'{"do": "stop", "now": true}',
        b'{"do": "stop", "count": 1}',
        b'{"do": "scale"}',
        b'{"do": "scale", "count": 0}',
        b'{"do": "scale", "count": 1001}',
        b'{"do": "scale", "count": true}',
        b'{"do": "scale", "count": 2.5}',
        b'{"do": "\xff"}',
        b"[" * (LONGEST_LINE - 1),
    ],
)
def test_what_is_no_request_is_refused_and_changes_nothing(server: Server, line: bytes) -> None:
    client = server.connect(line + b"\n")
    server.turn()
    [reply] = client.replies()
    assert reply.keys() == {"refused"}
    assert client.ended
    assert server.commands.asked == []


def test_a_request_may_come_in_pieces(server: Server) -> None:
    client = server.connect()
    for piece in (b'{"do"', b': "sta', b'tus"}', b"\n"):
        client.socket.sendall(piece)
        server.turn(PATIENCE / 5)
    assert client.replies() == [{"status": STATUS}]


@pytest.mark.parametrize("sent", [b"", b'{"do": "status"}'], ids=["nothing", "half a line"])
def test_who_sends_no_line_in_time_is_sent_away(server: Server, sent: bytes) -> None:
    client = server.connect(sent)
    server.turn()
    server.turn(PATIENCE - 0.01)
    assert (client.replies(), client.ended) == ([], False)
    server.turn(0.01)
    assert (client.replies(), client.ended) == ([], True)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_who_sends_too_long_a_line_is_sent_away(server: Server, end: bytes) -> None:
    client = server.connect(b" " * (LONGEST_LINE + 1) + end)
    server.turn()
    assert (client.replies(), client.ended) == ([], True)


def test_who_sends_more_than_one_line_is_sent_away(server: Server) -> None:
    both = server.connect(b'{"do": "stop"}\n{"do": "stop"}\n')
    later = server.ask("quiet")
    later.socket.sendall(b'{"do": "stop"}\n')
    server.turn()
    assert (both.replies(), both.ended) == ([], True)
    assert (later.replies(), later.ended) == ([], True)
    assert server.commands.asked == [("quiet", None)]


def test_a_client_that_goes_away_is_forgotten_and_its_request_goes_on(server: Server) -> None:
    with no_new_descriptors():
        with server.ask("restart"):
            pass
        server.turn()
        server.commands.requests["restart"].end(True, "done")
        server.turn()
    assert server.ask("status").replies() == [{"status": STATUS}]


def test_a_client_that_does_not_read_is_sent_away_and_delays_nobody(server: Server) -> None:
    server.commands.current = {"padding": "x" * 4_000_000}
    deaf = server.ask("status")
    server.commands.current = STATUS
    assert server.ask("status").replies() == [{"status": STATUS}]
    server.turn(PATIENCE)
    received = b""
    with contextlib.suppress(BlockingIOError):
        while data := deaf.socket.recv(1 << 20):
            received += data
    assert 0 < len(received) < 4_000_000
    assert deaf.socket.recv(1) == b""


def test_a_long_answer_reaches_who_reads_it(server: Server) -> None:
    server.commands.current = {"padding": "x" * 4_000_000}
    client = server.ask("status")
    received = b""
    while not received.endswith(b"\n"):
        received += client.socket.recv(1 << 20)
        server.turn()
    assert json.loads(received) == {"status": server.commands.current}


def test_a_late_request_leaves_all_the_time_for_reading_its_answer(server: Server) -> None:
    server.commands.current = {"padding": "x" * 4_000_000}
    client = server.connect()
    server.turn()
    server.turn(PATIENCE - 0.01)
    client.socket.sendall(b'{"do": "status"}\n')
    server.turn()
    server.turn(PATIENCE - 0.01)
    client.socket.setblocking(True)
    received = client.socket.recv(1 << 20)
    while not received.endswith(b"\n"):
        server.turn()
        received += client.socket.recv(1 << 20)
    assert json.loads(received) == {"status": server.commands.current}


def test_no_more_clients_are_served_than_the_most_and_the_others_are_told(server: Server) -> None:
    served = [server.ask("quiet") for _ in range(MOST_CLIENTS)]
    [reply] = server.ask("status").replies()
    assert reply.keys() == {"refused"}
    served[0].socket.close()
    server.turn()
    assert server.ask("status").replies() == [{"status": STATUS}]


def test_without_a_descriptor_for_a_client_the_loop_rests_and_then_goes_on(server: Server) -> None:
    client = server.connect(b'{"do": "status"}\n')
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        server.turn()
        server.turn(PAUSE / 2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    server.turn(PAUSE / 2 - 0.01)
    assert client.replies() == []
    server.turn(0.01)
    assert client.replies() == [{"status": STATUS}]


def test_a_defect_behind_a_request_does_not_end_the_master(server: Server, logged: pytest.LogCaptureFixture) -> None:
    server.commands.refusals["reload"] = ZeroDivisionError()
    [reply] = server.ask("reload").replies()
    assert "ZeroDivisionError" in reply["refused"]
    assert "component.failed component=control" in logged.messages
    assert server.ask("status").replies() == [{"status": STATUS}]


def test_what_changes_something_is_logged_with_who_asked(server: Server, logged: pytest.LogCaptureFixture) -> None:
    server.commands.refusals["restart"] = Refused("one is under way")
    server.ask("status")
    server.ask("scale", count=4)
    server.ask("restart")
    by = f"uid={os.getuid()} by={os.getpid()}"
    assert logged.messages == [
        f"control.request do=scale count=4 {by}",
        f"control.request do=restart {by}",
        'control.refused do=restart why="one is under way"',
    ]


def test_only_its_user_may_connect_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    listen = socket.socket.listen

    def note_mode_and_listen(self: socket.socket, backlog: int) -> None:
        modes.append(stat.S_IMODE(os.stat(self.getsockname()).st_mode))
        listen(self, backlog)

    monkeypatch.setattr(socket.socket, "listen", note_mode_and_listen)
    before = os.umask(0)
    try:
        with contextlib.closing(Server(tmp_path / "jobd.pid")) as server:
            modes.append(stat.S_IMODE(server.path.stat().st_mode))
    finally:
        os.umask(before)
    assert modes == [0o600, 0o600]


def test_the_socket_of_a_killed_master_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "jobd.pid.sock"))
    with contextlib.closing(Server(tmp_path / "jobd.pid")) as server:
        assert server.ask("status").replies() == [{"status": STATUS}]


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_what_is_no_socket_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "jobd.pid.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with contextlib.closing(Loop()) as loop, pytest.raises(ConfigError, match=r"jobd\.pid\.sock .*-P"):
        Control(loop, path, FakeCommands())
    assert path.is_symlink() or path.exists()


def test_closing_ends_connections_and_removes_the_socket(server: Server) -> None:
    waiting = server.ask("stop")
    server.control.close()
    server.control.close()
    assert (waiting.replies(), waiting.ended) == ([], True)
    assert not server.path.exists()


def test_closing_leaves_the_socket_of_another_master(server: Server) -> None:
    server.path.unlink()
    with contextlib.closing(Server(server.path.with_suffix(""))) as other:
        server.control.close()
        assert other.ask("status").replies() == [{"status": STATUS}]


def test_a_forked_child_holds_no_descriptor_and_leaves_the_socket(server: Server) -> None:
    waiting = server.ask("stop")
    pid = os.fork()
    if pid == 0:
        before = sockets()
        server.control.after_fork_in_child()
        server.control.close()
        os._exit(before - sockets())
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == len(["what listens", "the connection"])
    server.commands.requests["stop"].end(True, "done")
    server.turn()
    assert waiting.replies() == [{"answer": DONE["outcome"]}, DONE]
    assert server.ask("status").replies() == [{"status": STATUS}]


def sockets() -> int:
    """How many descriptors of this process are sockets."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return found
