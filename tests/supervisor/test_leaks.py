"""A master that starts children for ever stays as it is, and lives on when the system has no room for another one.

`JOBD_RESTARTS` sets how many children are started one after another [20].
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jobd.supervisor import exits
from tests.servers import RedisServer
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

RESTARTS = int(os.environ.get("JOBD_RESTARTS", "20"))
PROCESSES = 4
SAME_MEMORY = 768
"""Kilobytes by which the master may grow: a list of free blocks more or less, however many children it had."""
QUICK = {
    "jobd.supervisor.policy.FIRST_DELAY": 0.05,
    "jobd.supervisor.policy.MAX_DELAY": 0.05,
    "jobd.supervisor.health.MEMORY_INTERVAL": 0.05,
}
NOBODY = 65534


def descriptors(pid: int) -> list[str]:
    """Where the descriptors of a process lead, but for the numbers of pipes and sockets."""
    names = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(entry).partition("[")[0])
    return sorted(names)


def memory(pid: int) -> dict[str, int]:
    """Kilobytes that a process holds: in all, and its share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return {name: int(line.split()[1]) for line in lines for name in ("Rss", "Pss") if line.startswith(f"{name}:")}


def threads(pid: int) -> int:
    """How many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def workers(jobd: Jobd) -> set[int]:
    """The children, when each is ready and no other is left."""
    children = jobd.status()["children"]
    return {child["pid"] for child in children} if all(child["state"] == "ready" for child in children) else set()


def replace_all(jobd: Jobd) -> None:
    """Kill every child, and wait until there are as many others."""
    before = workers(jobd)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(workers(jobd) - before) == PROCESSES, "new children", 20.0)


def test_descriptors_memory_and_threads_of_the_master_stay_the_same_over_many_children(
    start_jobd: StartJobd, tmp_path: Path
) -> None:
    jobd = start_jobd(
        processes=PROCESSES, concurrency=1, pidfile="jobd.pid", metrics=f"{tmp_path}/m.sock", constants=QUICK
    )
    for _ in range(2):
        replace_all(jobd)
    files, held = descriptors(jobd.pid), memory(jobd.pid)
    for _ in range(RESTARTS // PROCESSES):
        replace_all(jobd)
        assert threads(jobd.pid) == 1
    wait_until(lambda: descriptors(jobd.pid) == files, "the same descriptors")
    grown = {name: size - held[name] for name, size in memory(jobd.pid).items()}
    assert max(grown.values()) < SAME_MEMORY, f"from {held} by {grown}"
    wait_until(lambda: jobd.status()["orphans"] == 0, "no names of dead processes kept")
    assert jobd.stop() == exits.OK


def set_limit(jobd: Jobd, name: str, soft: int) -> None:
    """Change a limit of a master that runs, as its user."""
    as_user = jobd.command[: jobd.command.index(sys.executable)]
    text = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
    subprocess.run([*as_user, "prlimit", f"--pid={jobd.pid}", f"--{name}={text}:"], check=True)


def assert_lives_on(jobd: Jobd, name: str, soft: int, error: str) -> None:
    """Lower a limit so that no child can be started; the others go on, and later there is a new one."""
    before = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[0]  # it has inherited this
    set_limit(jobd, name, soft)
    os.kill(jobd.workers[0].pid, signal.SIGKILL)
    assert error in jobd.wait_for("child.not_started", count=3)["error"]
    jobd.push("quick", 1)
    jobd.wait_for_lines("ended", 1)
    assert threads(jobd.pid) == 1
    set_limit(jobd, name, before)
    wait_until(lambda: len(workers(jobd)) == 2, "a new child once there is room")
    jobd.push("quick", 2)
    jobd.wait_for_lines("ended", 2)
    assert jobd.stop() == exits.OK


@pytest.mark.skipif(not shutil.which("prlimit"), reason="needs prlimit")
@pytest.mark.parametrize("store", ["server", "embedded"])
def test_without_a_free_descriptor_the_master_lives_on_and_starts_a_child_when_there_is_one(
    start_jobd: StartJobd, redis_url: str, tmp_path: Path, store: str
) -> None:
    jobd = start_jobd(
        redis_url if store == "server" else f"embedded:{tmp_path}/store",
        processes=2,
        concurrency=1,
        pidfile="jobd.pid",
        metrics=f"{tmp_path}/m.sock",
        constants=QUICK,
    )
    assert_lives_on(jobd, "nofile", 4, "Too many open files")


class OfNobody(Jobd):
    """A jobd that runs as nobody, whom limits hold; it may read what root may: the interpreter may be in its home."""

    @property
    def command(self) -> list[str]:
        """What is started."""
        as_nobody = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        may_read = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
        return ["setpriv", *as_nobody, *may_read, *super().command]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and util-linux")
def test_without_room_for_a_process_the_master_lives_on_and_starts_a_child_when_there_is_room() -> None:
    with RedisServer(tcp=True) as server, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        (directory / "ledger").touch()
        (directory / "ledger").chmod(0o666)
        with OfNobody(directory, server.url, processes=2, concurrency=1, pidfile="jobd.pid", constants=QUICK) as jobd:
            assert_lives_on(jobd, "nproc", 1, "Resource temporarily unavailable")
