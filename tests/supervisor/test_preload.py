"""The application in the master: what its import leaves behind is told, and its memory stays shared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import gc, os, sys
from jobd.supervisor import application
from jobd.supervisor.application import ApplicationError
from jobd.supervisor.memory import reading
from jobd.supervisor.preload import preload
from jobd.worker import log

sys.path.insert(0, sys.argv[1])
log.install("json", "debug", sys.stdout)
try:
    jobs = preload(lambda: application.load(["shop"]))
except ApplicationError as error:
    log.event("failed", why=str(error))
    sys.exit()
if os.fork() == 0:
    before = reading(os.getpid(), "uss")
    gc.collect()
    log.event("child", grown=reading(os.getpid(), "uss") - before)
    os._exit(0)
os.wait()
log.event("done", jobs=jobs, frozen=gc.get_freeze_count() > 0)
sys.stdout.flush()
os._exit(0)
"""
JOB = """
import jobd

@jobd.job
def pack(): ...
"""
LEFTOVERS = """
import ctypes, signal, socket, threading

libc = ctypes.CDLL(None)
libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)
threading.Thread(target=threading.Event().wait, name="stock-poller", daemon=True).start()
listener = socket.create_server(("127.0.0.1", 0))
warehouse = socket.create_connection(listener.getsockname())
pair = socket.socketpair()
statistics = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
statistics.connect(("127.0.0.1", 9))
signal.signal(signal.SIGTERM, print)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
"""


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """Where the application's one module is to be written."""
    return tmp_path / "shop.py"


def preload(application: Path) -> list[dict[str, Any]]:
    """The events of a process that imports the application as the master does, and forks."""
    # Python 3.12 and later warn of a fork beside threads, as this test makes one on purpose.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT, str(application.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_child_shares_the_memory_of_the_application_whatever_its_garbage_collector_does(application: Path) -> None:
    application.write_text(f"{JOB}\ncatalogue = [[[]] for _ in range(150_000)]\n")
    child, done = preload(application)
    assert child["grown"] < 2 * 2**20
    assert (done["event"], done["jobs"], done["frozen"]) == ("done", 1, True)


def test_what_an_import_leaves_behind_is_told(application: Path) -> None:
    application.write_text(f"{JOB}\n{LEFTOVERS}")
    threads, connections, signals, *_ = preload(application)
    assert [each["level"] for each in (threads, connections, signals)] == ["warning"] * 3
    assert threads["event"] == "preload.threads"
    library, own = sorted(threads["threads"].split(", "), reverse=True)
    assert own == "stock-poller"
    assert library.startswith("thread ")
    assert library.endswith(" of a library")
    assert connections["event"] == "preload.connections"
    named = sorted(each.split(" (")[0] for each in connections["connections"].split(", "))
    assert [name.split(":")[0] for name in named] == ["127.0.0.1", "127.0.0.1", "unix socket", "unix socket"]
    assert (signals["event"], signals["signals"]) == ("preload.signals", "SIGTERM, SIGUSR1")


def test_an_application_that_cannot_be_imported_is_an_error(application: Path) -> None:
    application.write_text("import jobd\nraise RuntimeError('out of stock')\n")
    (failed,) = preload(application)
    assert failed["event"] == "failed"
    assert failed["why"].startswith("cannot import shop: RuntimeError: out of stock\n")
