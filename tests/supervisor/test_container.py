"""A master that is process 1, as in a container: it stops on TERM, and reaps the strangers that its jobs leave."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobd.supervisor import exits
from tests.supervisor.jobd_command import Jobd, has_ended
from tests.waiting import wait_until

UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def can_unshare() -> bool:
    """Whether this user may make a namespace of pids."""
    with contextlib.suppress(OSError):
        return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    return False


pytestmark = pytest.mark.skipif(not can_unshare(), reason="needs root and unshare")


class InContainer(Jobd):
    """A jobd that is process 1 of a namespace of its own."""

    @property
    def command(self) -> list[str]:
        """What is started."""
        return [*UNSHARE, *super().command]

    @property
    def master(self) -> psutil.Process:
        """Process 1, as it is seen from here."""
        (master,) = psutil.Process(self.pid).children()
        return master


@pytest.fixture
def jobd(tmp_path: Path, redis_url: str) -> Iterator[InContainer]:
    """A jobd as process 1 with two worker processes."""
    apps = ["ledger_jobs", "chaos_jobs"]
    with InContainer(tmp_path, redis_url, processes=2, concurrency=3, timeout=1, require=apps) as started:
        yield started


def stop(jobd: InContainer) -> int:
    """TERM for process 1; the exit code."""
    jobd.master.terminate()
    return jobd.wait()


def test_process_1_stops_on_term_and_gives_jobs_back(jobd: InContainer) -> None:
    assert jobd.wait_for("master.ready")["pid"] == 1
    jobd.push("hold", 1)
    jobd.wait_for_lines("began", 1)
    family = [jobd.master, *jobd.master.children()]
    assert stop(jobd) == exits.OK
    assert all(map(has_ended, family))
    assert [json.loads(job)["class"] for job in jobd.queued()] == ["hold"]
    assert jobd.left_in_progress() == {}


def test_process_1_reaps_strangers_and_leaves_to_jobs_the_exit_codes_of_their_programs(jobd: InContainer) -> None:
    strangers = 20
    jobd.push_many("leave_stranger", range(strangers))
    jobd.push_many("run_program", range(strangers))
    jobd.wait_for_lines("stranger", strangers)
    jobd.wait_for_lines("code", strangers)
    notes = [line.split() for line in jobd.ledger.read_text().splitlines()]
    assert all(words[1] == words[2] for words in notes if words[0] == "code")
    workers = {event["pid"] for event in jobd.events("process.ready")}
    wait_until(lambda: pids_in(jobd) == {1, *workers}, "only master and workers")
    assert stop(jobd) == exits.OK
    assert jobd.statistics() == (2 * strangers, 0)


def pids_in(jobd: InContainer) -> set[int]:
    """All processes of its namespace, as they are numbered there; those that wait to be reaped too."""
    namespace = os.readlink(f"/proc/{jobd.master.pid}/ns/pid")
    found = set()
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if pid == jobd.master.pid or os.readlink(f"/proc/{pid}/ns/pid") == namespace or _is_child(pid, jobd):
                found.add(_innermost_pid(pid))
    return found


def _is_child(pid: int, jobd: InContainer) -> bool:
    """Of one that waits to be reaped the namespace cannot be read any more."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).ppid() == jobd.master.pid
    return False


def _innermost_pid(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))
