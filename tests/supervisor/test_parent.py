"""A child whose parent ends is told by the kernel, and knows when it is too late for that."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = """
import os, signal
from jobd.supervisor.parent import die_with

parent = os.getpid()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
read_end, write_end = os.pipe()
"""
PARENT_DIES_LATER = (
    START
    + """
if os.fork():
    os.read(read_end, 1)
    os.kill(parent, signal.SIGKILL)
print(die_with(parent), flush=True)
os.write(write_end, b"!")
came = signal.sigtimedwait({signal.SIGTERM}, 10)
print(came and came.si_signo)
"""
)
PARENT_IS_DEAD = (
    START
    + """
if os.fork():
    os.kill(parent, signal.SIGKILL)
os.close(write_end)
os.read(read_end, 1)
while os.getppid() == parent:  # its files are closed a moment before its children are given away
    os.sched_yield()
print(die_with(parent))
"""
)


def said_by_child(script: str) -> list[str]:
    """What the child has printed by its end; its parent is killed by the script."""
    # Read until the end of file: the child lives longer than the process started here.
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the death of a parent")
def test_the_death_of_the_parent_reaches_the_child_as_sigterm() -> None:
    assert said_by_child(PARENT_DIES_LATER) == ["True", "15"]


def test_a_parent_that_died_before_is_noticed() -> None:
    assert said_by_child(PARENT_IS_DEAD) == ["False"]
