"""What a process shows of itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from jobd.client.version import VERSION
from jobd.supervisor.config import Config
from jobd.supervisor.loop import Loop
from jobd.supervisor.serve import Server, title
from jobd.supervisor.signals import SignalPipe
from jobd.worker.config import Capsule
from jobd.worker.page import Page


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
    assert title(config, busy, config.threads, quiet=quiet) == f"jobd {VERSION} {shown}"


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A process without a master, in which the signals of its heartbeat do not arrive by themselves."""
    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    pipe = SignalPipe([])
    unused: Any = None
    yield Server(Config(), loop=Loop(), signals=pipe, page=Page(1), reporter=unused)
    signal.set_wakeup_fd(-1)


def test_without_a_master_redis_does_not_resume_what_was_made_quiet_on_the_machine(single: Server) -> None:
    single.take_signal(signal.SIGTSTP)
    single._take_remote("RESUME")
    single.take_signal(signal.SIGCONT)
    assert single.is_quiet
    single.resume()
    assert not single.is_quiet


def test_without_a_master_redis_resumes_what_it_made_quiet(single: Server) -> None:
    single._take_remote("TSTP")
    single._take_remote("RESUME")
    single.take_signal(signal.SIGTSTP)
    assert single.is_quiet
    single.take_signal(signal.SIGCONT)
    assert not single.is_quiet


def test_a_resume_whose_signal_was_lost_is_not_done_by_a_later_one(single: Server) -> None:
    single._master_pid = 1
    single._take_remote("RESUME")
    single.take_signal(signal.SIGTSTP)  # by which the kernel drops the CONT
    single.take_signal(signal.SIGCONT)
    assert single.is_quiet
