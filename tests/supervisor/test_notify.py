"""What systemd hears, with a socket of our own in the place of its manager."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from jobd.supervisor import notify
from jobd.supervisor.notify import Notifier
from tests.descriptors import no_new_descriptors

CREDENTIALS = struct.Struct("3i")


class Manager:
    """Receives what a service sends to `address`, the value of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def received(self) -> list[tuple[str, int]]:
        """The datagrams that have come, each with its sender's pid."""
        found = []
        while True:
            try:
                data, (credentials,), _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
            except BlockingIOError:
                return found
            found.append((data.decode(), CREDENTIALS.unpack(credentials[2])[0]))

    def heard(self) -> list[str]:
        """The datagrams that have come."""
        return [text for text, _ in self.received()]

    def close(self) -> None:
        self._socket.close()


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    # A short name: the path of a temporary folder may be longer than a socket's address.
    address = f"/tmp/jobd-{uuid4().hex}" if request.param == "path" else f"@jobd-{uuid4().hex}"
    with closing(Manager(address)) as listening:
        yield listening
    if request.param == "path":
        os.unlink(address)


def test_each_event_is_one_datagram_of_this_process(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address})
    notifier.extend(2.5)
    notifier.ready("2 worker processes")
    notifier.status("quiet")
    notifier.stopping()
    assert manager.received() == [
        (text, os.getpid())
        for text in (
            "EXTEND_TIMEOUT_USEC=2500000",
            "READY=1\nSTATUS=2 worker processes",
            "STATUS=quiet",
            "STOPPING=1",
        )
    ]


def test_a_reload_is_told_with_its_time_in_one_datagram_and_ended_by_ready(manager: Manager) -> None:
    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": manager.address}, clock)
    notifier.reloading()
    notifier.reloaded("too early")
    notifier.ready("starts")
    assert manager.heard() == ["READY=1\nSTATUS=starts"]
    clock.now = 1234.567891
    notifier.reloading()
    notifier.reloaded("2 worker processes")
    assert manager.heard() == ["RELOADING=1\nMONOTONIC_USEC=1234567891", "READY=1\nSTATUS=2 worker processes"]


def test_the_time_of_a_reload_is_that_of_the_clock_that_systemd_reads(manager: Manager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier = Notifier({"NOTIFY_SOCKET": manager.address})
    notifier.ready("up")
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    _, message = manager.heard()
    assert before <= int(message.rpartition("MONOTONIC_USEC=")[2]) <= after + 1


def test_a_status_never_becomes_another_assignment(manager: Manager) -> None:
    Notifier({"NOTIFY_SOCKET": manager.address}).status("2 jobs\nSTOPPING=1\r\nWATCHDOG=trigger \udce9 é")
    assert manager.heard() == ["STATUS=2 jobs STOPPING=1 WATCHDOG=trigger \\udce9 é"]


def test_the_watchdog_is_fed_at_half_of_its_interval(manager: Manager) -> None:
    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000"}, clock)
    assert notifier.watchdog_interval == 3.0
    fed = []
    for tenths in range(1, 41):
        clock.now = 100.0 + tenths / 10
        notifier.watchdog()
        fed += [(tenths, text) for text in manager.heard()]
    assert fed == [(15, "WATCHDOG=1"), (30, "WATCHDOG=1")]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-3"},
        {"WATCHDOG_USEC": "10", "WATCHDOG_PID": str(os.getppid())},
        {"WATCHDOG_USEC": "10", "WATCHDOG_PID": "me"},
    ],
)
def test_a_watchdog_that_is_not_ours_is_left_alone(manager: Manager, environ: dict[str, str]) -> None:
    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, **environ}, clock)
    clock.now += 3600
    notifier.watchdog()
    assert notifier.watchdog_interval is None
    assert manager.heard() == []


def test_the_watchdog_of_this_very_process_is_fed(manager: Manager) -> None:
    clock = Clock()
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "10", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier(environ, clock)
    clock.now += 1
    notifier.watchdog()
    assert manager.heard() == ["WATCHDOG=1"]


def test_a_full_socket_delays_nothing_and_the_watchdog_is_fed_as_soon_as_there_is_room(manager: Manager) -> None:
    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000000"}, clock)
    for number in range(5_000):
        notifier.status(str(number))
    clock.now += 1
    notifier.watchdog()
    kept = manager.heard()
    assert 0 < len(kept) < 5_000
    assert "WATCHDOG=1" not in kept
    notifier.watchdog()
    notifier.watchdog()
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "address", ["", "/nonexistent/notify", "@jobd-nobody-listens", "/" + "long" * 100, "@" + "long" * 100, "vsock:2:1"]
)
def test_without_a_manager_that_listens_nothing_happens(address: str) -> None:
    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10"}, clock)
    clock.now += 1
    notifier.ready("up")
    notifier.reloading()
    notifier.status("up")
    notifier.extend(1)
    notifier.watchdog()
    notifier.stopping()


def test_outside_of_systemd_there_is_no_watchdog() -> None:
    assert Notifier({"WATCHDOG_USEC": "3000000"}).watchdog_interval is None


def test_no_descriptor_stays_open(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address})
    with no_new_descriptors():
        notifier.ready("up")
        Notifier({"NOTIFY_SOCKET": "/nonexistent/notify"}).ready("up")


def test_what_this_process_starts_cannot_speak_for_it(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    for variable, value in own.items():
        monkeypatch.setenv(variable, value)
    notifier = Notifier(os.environ)
    notify.remove_from(os.environ)
    notify.remove_from(os.environ)
    script = "import os; print([name for name in os.environ if name.startswith(('NOTIFY', 'WATCHDOG'))])"
    seen = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert seen == "[]\n"
    notifier.stopping()
    assert manager.heard() == ["STOPPING=1"]
