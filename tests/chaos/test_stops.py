"""Stops that the rounds of random signals have shown to be hard."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from jobd.supervisor import exits
from tests.supervisor.jobd_command import Jobd

TIMEOUT = 1.0
BUSY = 0.7
"""Seconds more on a machine that runs other tests too."""


def test_a_child_that_is_found_to_hang_during_the_stop_does_not_make_it_longer(tmp_path: Path, redis_url: str) -> None:
    with Jobd(tmp_path, redis_url, timeout=TIMEOUT, hang_timeout=3, lease=10) as jobd:
        os.kill(jobd.workers[0].pid, signal.SIGSTOP)
        begun = time.monotonic()
        assert jobd.stop() == exits.OK
        assert time.monotonic() - begun < TIMEOUT + 3 + BUSY
        assert jobd.count("child.hung") == 1


def test_signals_that_come_until_the_very_end_do_not_change_it(tmp_path: Path, redis_url: str) -> None:
    with Jobd(tmp_path, redis_url, timeout=TIMEOUT) as jobd:
        while not is_zombie(jobd.pid):
            for number in (signal.SIGTERM, signal.SIGINT):
                jobd.signal(number)
        assert jobd.wait() == exits.OK


def is_zombie(pid: int) -> bool:
    """Whether a process waits only for its parent to ask how it ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
