"""HTTP in the master's loop: what is answered, and that no client can keep the loop from turning."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.client.errors import PortUnavailable
from jobd.supervisor import endpoint
from jobd.supervisor.http_head import Request, Response, parse
from jobd.supervisor.listener import listen
from tests.descriptors import no_new_descriptors
from tests.supervisor.http_site import Site, ok

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

Start = Callable[..., Site]


@pytest.fixture
def start() -> Iterator[Start]:
    """Makes sites, and closes them."""
    with contextlib.ExitStack() as stack:

        def make(answer: endpoint.Answer = ok, address: str = "127.0.0.1:0") -> Site:
            site = Site(answer, address)
            stack.callback(site.close)
            return site

        yield make


@pytest.fixture
def site(start: Start) -> Site:
    """One that says what it was asked for."""
    return start()


def status(answer: bytes) -> int:
    """The status of an answer."""
    return int(answer.split()[1])


def is_open(client: socket.socket) -> bool:
    """Whether the server has not ended the connection."""
    try:
        return client.recv(1 << 16, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def places_taken(site: Site) -> int:
    """How many connections it holds."""
    here = site.listener.getsockname()
    return sum(_is_connected(int(name), here) for name in os.listdir("/proc/self/fd"))


def _is_connected(descriptor: int, here: object) -> bool:
    """Whether it is an accepted connection of a listener; what all processes hold is no list of one moment."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            with socket.socket(fileno=os.dup(descriptor)) as each:
                listens = each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                return each.getsockname() == here and not listens
    return False


def test_a_request_is_answered_and_the_connection_ends(site: Site) -> None:
    head, _, body = site.ask(b"GET /metrics?x=1 HTTP/1.1\r\nAccept: a/b\r\naccept: c/d;q=0.5\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 200 OK"
    assert {b"Content-Length: 23", b"Connection: close", b"Cache-Control: no-store"} <= set(head.split(b"\r\n"))
    assert body == b"/metrics a/b, c/d;q=0.5"


def test_head_is_told_of_the_body_and_not_sent_it(site: Site) -> None:
    answer = site.ask(b"HEAD /live HTTP/1.0\r\n\r\n")
    assert b"Content-Length: 6\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"BREW /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 400),
        (b"GET  HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET http://[x/ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://x/live HTTP/1.1\r\n\r\n", 200),
        (b"GET /live HTTP/1.1\n\n", 200),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"x" * 500_000, 431),
    ],
)
def test_what_is_no_fitting_request_is_told_so(site: Site, request_bytes: bytes, expected: int) -> None:
    assert status(site.ask(request_bytes)) == expected


@given(st.binary(max_size=300) | st.builds(lambda rest: b"GET /" + rest, st.binary(max_size=60)))
def test_any_bytes_are_a_request_or_refused(head: bytes) -> None:
    assert isinstance(parse(head), Request | Response)


def test_what_is_refused_names_the_methods(site: Site) -> None:
    assert b"Allow: GET, HEAD\r\n" in site.ask(b"PUT / HTTP/1.1\r\n\r\n")


def test_what_follows_the_request_does_not_destroy_the_answer(site: Site) -> None:
    assert status(site.ask(GET + b"x" * 200_000)) == 200


def test_a_client_that_shuts_its_side_down_gets_its_answer(site: Site) -> None:
    client = site.connect()
    client.send(GET)
    client.shutdown(socket.SHUT_WR)
    assert status(site.read(client)) == 200


def test_a_long_answer_arrives_whole_at_a_small_window(start: Start) -> None:
    body = os.urandom(6_000_000)
    site = start(lambda path, accept: Response(200, body))
    client = site.connect(receive_buffer=65536)
    client.send(GET)
    assert site.read(client).partition(b"\r\n\r\n")[2] == body


def test_an_answer_that_fails_is_an_error_of_the_server_and_of_nobody_else(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: str, accept: str) -> Response:
        raise KeyError(path)

    site = start(fail)
    assert status(site.ask(GET)) == 500
    assert status(site.ask(GET)) == 500
    assert "metrics.defect" in caplog.text


def test_half_a_request_gets_two_seconds(site: Site) -> None:
    client = site.connect()
    client.send(GET[:20])
    site.turn(2)
    site.later(1.9)
    assert is_open(client)
    site.later(0.2)
    assert status(site.read(client)) == 408


def test_a_request_that_comes_byte_by_byte_gets_no_more_time(site: Site) -> None:
    client = site.connect()
    for byte in GET[:20]:
        client.send(bytes([byte]))
        site.later(0.11)
    assert status(site.read(client)) == 408


def test_a_request_that_comes_in_pieces_is_answered(site: Site) -> None:
    client = site.connect()
    for byte in GET:
        client.send(bytes([byte]))
        site.turn()
    assert status(site.read(client)) == 200


def test_who_says_nothing_loses_the_place(site: Site) -> None:
    silent = [site.connect() for _ in range(endpoint.CONNECTIONS)]
    site.turn(2)
    site.later(endpoint.STEP_SECONDS)
    site.later(endpoint.STEP_SECONDS)
    site.turn()
    assert places_taken(site) == 0
    assert not any(client.recv(1000)[:12] != b"HTTP/1.1 408" for client in silent)
    assert status(site.ask(GET)) == 200


def test_who_never_reads_the_answer_loses_the_place(start: Start) -> None:
    site = start(lambda path, accept: Response(200, bytes(20_000_000)))
    client = site.connect(receive_buffer=4096)
    client.send(GET)
    site.turn(5)
    assert places_taken(site) == 1
    site.later(endpoint.STEP_SECONDS)
    assert places_taken(site) == 0


def test_who_reads_the_answer_drop_by_drop_loses_the_place_in_the_end(start: Start) -> None:
    site = start(lambda path, accept: Response(200, bytes(20_000_000)))
    site.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client = site.connect(receive_buffer=4096)
    client.send(GET)
    site.turn(2)
    for _ in range(int(endpoint.LIFE_SECONDS)):
        assert places_taken(site) == 1
        client.recv(65536)
        site.turn()
        site.later(1.0)
    assert places_taken(site) == 0


def test_more_than_sixteen_connections_are_closed_at_once(site: Site) -> None:
    first = [site.connect() for _ in range(endpoint.CONNECTIONS)]
    site.turn(2)
    late = site.connect()
    site.turn(2)
    assert not is_open(late)
    assert all(map(is_open, first))
    first[0].send(GET)
    assert status(site.read(first[0])) == 200
    first[0].close()
    site.turn(2)
    assert status(site.ask(GET)) == 200


def test_a_thousand_connections_leave_nothing_behind(site: Site) -> None:
    with no_new_descriptors():
        for _ in range(1000):
            with site.connect() as client:
                client.send(GET[:15])
            site.loop.wait(0)
        site.turn(5)
        assert status(site.ask(GET)) == 200


def test_connections_that_are_reset_at_any_point_do_no_harm(site: Site) -> None:
    for said in (b"", GET[:10], GET):
        client = site.connect()
        client.send(said)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if said == GET:
            site.turn()
        client.close()
        site.turn(2)
    assert places_taken(site) == 0
    assert status(site.ask(GET)) == 200


def test_without_a_descriptor_left_the_loop_waits_and_then_goes_on(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    client = site.connect()
    client.send(GET)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        site.loop.wait(1.0)
        began = time.monotonic()
        site.loop.wait(0.1)
        waited = time.monotonic() - began
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "metrics.not_accepting" in caplog.text
    assert waited >= 0.099
    site.later(endpoint.PAUSE_SECONDS)
    assert status(site.read(client)) == 200


def test_a_forked_child_lets_go_and_the_master_goes_on(site: Site) -> None:
    client = site.connect()
    site.turn(2)
    pid = os.fork()
    if pid == 0:
        site.loop.close()
        site.endpoint.after_fork_in_child()
        os._exit(0 if site.listener.fileno() == -1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    client.send(GET)
    assert status(site.read(client)) == 200
    assert status(site.ask(GET)) == 200


def test_a_unix_socket_is_for_user_and_group_and_goes_with_the_endpoint(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.sock"
    site = start(address=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert status(site.ask(GET)) == 200
    site.endpoint.close()
    assert not path.exists()


def test_a_socket_that_another_one_has_replaced_stays(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    site = start(address=str(path))
    path.unlink()
    with listen(str(path)):
        site.endpoint.close()
        assert path.exists()


def test_a_socket_that_was_left_behind_is_replaced(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    listen(str(path)).close()
    assert path.exists()
    assert status(start(address=str(path)).ask(GET)) == 200


def test_a_path_where_somebody_listens_or_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    with listen(str(path)), pytest.raises(PortUnavailable, match="another program listens there; stop it"):
        listen(str(path))
    file = tmp_path / "notes"
    file.write_text("mine")
    with pytest.raises(PortUnavailable, match=f"{file}: there is a file that is no socket; remove it"):
        listen(str(file))
    assert file.read_text() == "mine"


def test_a_port_that_is_taken_is_refused() -> None:
    with listen("127.0.0.1:0") as taken:
        address = "{}:{}".format(*taken.getsockname())
        with pytest.raises(
            PortUnavailable, match=f"cannot listen on {address}: another program listens there; stop it"
        ):
            listen(address)


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        (":9394", "write host and port, such as 127.0.0.1:9394"),
        ("9394", "write host and port"),
        ("127.0.0.1:http", "write host and port"),
        ("127.0.0.1:99999", "write host and port"),
        ("127.0.0.1:" + "9" * 5000, "write host and port"),
        ("a..b:9394", "label empty or too long.*write an address of this machine"),
        ("203.0.113.7:9394", "this machine does not have that address; choose one that it has"),
        ("./" + "x" * 120, "path too long; choose another path"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused_with_the_remedy(
    address: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PortUnavailable, match=remedy) as refused:
        listen(address)
    assert address in str(refused.value)


def test_an_address_beyond_loopback_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    listen("127.0.0.1:0").close()
    listen("localhost:0").close()
    assert "metrics.exposed" not in caplog.text
    listen("0.0.0.0:0").close()
    assert "metrics.exposed" in caplog.text


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with listen("[::1]:0") as listener:
        assert listener.getsockname()[0] == "::1"
