"""`preload: true` with the real command: what is shared, what is warned of, what is refused, and what still works."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import psutil
import pytest

from jobd.supervisor import exits
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd, run_jobd

CATALOGUE = 40 << 20
APPLICATION = f"catalogue = bytearray(b'x') * {CATALOGUE}\n"
LEFTOVERS = """
import socket, threading
threading.Thread(target=threading.Event().wait, name="stock-poller").start()  # it would keep a program from its end
pair = socket.socketpair()
"""
WAITS = "threading.Event().wait()\n"
HELD_LOCK = """
import os, threading
lock, held = threading.Lock(), threading.Event()

def hold():
    with lock:
        held.set()
        threading.Event().wait()

threading.Thread(target=hold, name="stock-poller", daemon=True).start()
held.wait()
"""
NEEDED_AFTER_FORK = "os.register_at_fork(after_in_child=lock.acquire)\n"
NEEDED_BY_A_JOB = """
import jobd

@jobd.job(name="count_stock")
def count_stock():
    from ledger_jobs import note
    note("free" if lock.acquire(timeout=0.1) else "locked", "stock")
"""


def with_application(directory: Path, code: str) -> list[str]:
    """Write the module `shop`; what is to be required."""
    (directory / "shop.py").write_text(code)
    return ["ledger_jobs", "shop"]


def proportional(jobd: Jobd) -> int:
    """Bytes of memory that the master and its processes need, what they share counted once."""
    family = [psutil.Process(jobd.pid), *jobd.workers]
    return sum(process.memory_full_info().pss for process in family)


def test_the_application_is_in_memory_once_and_a_restart_is_refused(start_jobd: StartJobd, tmp_path: Path) -> None:
    require = with_application(tmp_path, APPLICATION + LEFTOVERS)
    jobd = start_jobd(require=require, processes=3, pidfile="jobd.pid", timeout=1)
    apart = proportional(jobd)
    assert jobd.stop() == exits.OK
    jobd.configure(preload=True)
    jobd.start()
    assert proportional(jobd) < apart - 1.5 * CATALOGUE  # one in place of three
    assert [event["pid"] for event in jobd.events("application.preloaded")] == [jobd.pid]
    assert jobd.events("preload.threads")[0]["threads"] == "stock-poller"
    assert jobd.count("preload.connections") == 1

    done = jobd.ctl("restart")
    assert (done.returncode, done.stdout) == (exits.FAILED, "")
    assert "preload" in done.stderr
    jobd.signal(signal.SIGUSR2)
    assert "preload" in jobd.wait_for("restart.refused")["why"]

    ready = jobd.count("process.ready")
    jobd.workers[0].kill()
    jobd.wait_for("process.ready", count=ready + 1)
    assert jobd.count("restart.began") == 0
    jobd.push_many("quick", range(10))
    jobd.wait_for_lines("ended", 10)
    assert jobd.stop() == exits.OK
    assert jobd.left_in_progress() == {}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, exits.OK), (signal.SIGQUIT, exits.QUIT)])
def test_a_stop_does_not_wait_for_the_import(tmp_path: Path, redis_url: str, number: signal.Signals, code: int) -> None:
    require = with_application(tmp_path, "import ledger_jobs, threading\nledger_jobs.note('imports', 1)\n" + WAITS)
    jobd = Jobd(tmp_path, redis_url, require=require, preload=True, timeout=60, pidfile="jobd.pid")
    with contextlib.closing(jobd.launch()):
        jobd.wait_for_lines("imports", 1)
        jobd.signal(number)
        assert jobd.wait(5) == code
        assert "Traceback" not in jobd.text()
        assert not (tmp_path / "jobd.pid").exists()


@pytest.mark.parametrize("options", [[], ["-d", "-L", "jobd.log"]], ids=["in the foreground", "as a daemon"])
def test_an_application_that_cannot_be_imported_ends_the_start(
    tmp_path: Path, redis_url: str, options: list[str]
) -> None:
    require = with_application(tmp_path, "raise RuntimeError('no such tenant')\n")
    settings = {"redis_url": redis_url, "require": require, "preload": True, "pidfile": "jobd.pid"}
    (tmp_path / "jobd.yml").write_text(json.dumps(settings))
    done = run_jobd("-C", "jobd.yml", *options, cwd=tmp_path, JOBD_TEST_LEDGER="ledger")
    assert done.returncode == exits.CHILDREN_CANNOT_BOOT
    assert "jobd: cannot import shop: RuntimeError: no such tenant" in done.stderr
    assert done.stderr.count("Traceback") == 1
    assert not (tmp_path / "jobd.pid").exists()


def test_a_lock_that_a_thread_holds_at_the_fork_is_warned_of_and_the_process_boots(
    start_jobd: StartJobd, tmp_path: Path
) -> None:
    jobd = start_jobd(require=with_application(tmp_path, HELD_LOCK + NEEDED_BY_A_JOB), preload=True, processes=1)
    warning = jobd.events("preload.threads")[0]
    assert (warning["level"], warning["threads"]) == ("warning", "stock-poller")
    jobd.push("count_stock")
    jobd.wait_for_lines("locked", 1)
    assert jobd.stop() == exits.OK


def test_a_lock_that_a_process_needs_to_boot_ends_the_start_at_boot_timeout(tmp_path: Path, redis_url: str) -> None:
    require = with_application(tmp_path, HELD_LOCK + NEEDED_AFTER_FORK)
    jobd = Jobd(tmp_path, redis_url, require=require, preload=True, processes=2, boot_timeout=0.5, timeout=0.2)
    with contextlib.closing(jobd.launch()):
        assert jobd.wait() == exits.CHILDREN_CANNOT_BOOT
        assert jobd.events("preload.threads")[0]["threads"] == "stock-poller"
        assert {end["reason"] for end in jobd.events("child.ended")} <= {"boot_timeout", "signal"}
        assert "not loaded within 0.5 s" in jobd.text()
