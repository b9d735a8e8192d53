"""What a process shows of itself, and how its end is put into words."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from jobd.client.version import VERSION
from jobd.supervisor.config import Config
from jobd.supervisor.master import cause_of
from jobd.supervisor.serve import title
from jobd.worker.config import Capsule


@pytest.mark.parametrize(
    ("tag", "busy", "quiet", "shown"),
    [
        ("shop", 0, False, "shop [0 of 7 busy]"),
        ("shop", 7, True, "shop [7 of 7 busy] stopping"),
        ("", 1, False, "[1 of 7 busy]"),
    ],
)
def test_the_title_counts_the_threads_of_all_capsules(tag: str, busy: int, quiet: bool, shown: str) -> None:
    config = Config(tag=tag, concurrency=4, capsules=(Capsule(name="ordered", concurrency=3, queues=(("o", 0),)),))
    assert title(config, busy, quiet=quiet) == f"jobd {VERSION} {shown}"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("raise SystemExit(0)", "exit code 0"),
        ("raise SystemExit(76)", "exit code 76"),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", "killed by SIGKILL"),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGTERM)})", "killed by SIGTERM"),
    ],
)
def test_the_end_of_a_process_is_told_in_words(code: str, cause: str) -> None:
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-S", "-c", code])
    assert cause_of(os.waitpid(pid, 0)[1]) == cause
