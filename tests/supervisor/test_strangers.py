"""Orphans that became children of this process are reaped; what belongs to others is left to them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SCRIPT = """
import ctypes, json, os, signal, subprocess, sys
from jobd.supervisor.strangers import is_init, reap
from jobd.worker import log

PR_SET_CHILD_SUBREAPER = 36

def orphan(command):
    'Have a process that is gone start `command` in the background; returns its pid.'
    read_end, write_end = os.pipe()
    command = f"(read go <&{read_end}; {command}) >/dev/null & echo $!"
    shell = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, check=True, pass_fds=[read_end])
    os.write(write_end, b"go\\n")  # one that ended before would be reaped by the shell
    return int(shell.stdout)

def wait_for_end(pid):
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

log.install("json", "debug")
found = {"init at first": is_init()}
if sys.argv[1] == "subreaper":
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
found["init"] = is_init()
known = subprocess.Popen(["sh", "-c", "exit 7"])
dead, alive = orphan("exit 3"), orphan("exec sleep 60")
wait_for_end(known.pid)
wait_for_end(dead)
found["first"] = [{dead: "dead"}.get(pid, pid) for pid in reap({known.pid})]
found["known"] = known.wait()
found["second"] = reap({known.pid})
os.kill(alive, signal.SIGKILL)
wait_for_end(alive)
found["third"] = [{alive: "killed"}.get(pid, pid) for pid in reap(set())]
found["left"] = reap(set())
print(json.dumps(found))
"""


def run(role: str, *prefix: str) -> tuple[dict[str, Any], list[Any]]:
    """What the script found in its role, and the exit codes of strangers that it logged."""
    done = subprocess.run([*prefix, sys.executable, "-c", SCRIPT, role], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines()]
    return json.loads(done.stdout), [(event["event"], event["level"], event["status"]) for event in events]


REAPED = {"init": True, "first": ["dead"], "known": 7, "second": [], "third": ["killed"], "left": []}
LOGGED = [("stranger.reaped", "debug", 3), ("stranger.reaped", "debug", -9)]


def test_a_subreaper_reaps_orphans_and_leaves_known_children_and_living_ones_alone() -> None:
    assert run("subreaper") == ({"init at first": False, **REAPED}, LOGGED)


def test_process_1_does_so_too() -> None:
    unshare = [shutil.which("unshare") or "/nonexistent", "--pid", "--fork", "--mount-proc"]
    try:
        subprocess.run([*unshare, "true"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no namespace of processes can be made here, which needs root and unshare: {error}")
    assert run("init", *unshare) == ({"init at first": True, **REAPED}, LOGGED)
