"""What a round does to a daemon: one thing after another, drawn at random from a seed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from tests.chaos.daemon import Daemon

Act: TypeAlias = Callable[[], None]

GENTLE_SIGNALS = ("USR1", "USR2", "TTIN", "TTOU", "CONT", "WINCH", "URG", "ALRM", "TSTP")
CHILD_SIGNALS = ("TERM", "USR2", "TSTP", "USR1", "HUP", "TTIN", "INT", "CONT")
CHILD_KILLS = ("KILL", "KILL", "KILL", "QUIT", "ABRT", "SEGV")
STOPS = ("TERM", "INT", "INT INT", "QUIT", "ctl stop", "TERM TERM INT", "frozen child")
SECOND_INT_AFTER = 1.1
"""Seconds: an INT that comes sooner is taken for an echo of the first."""


class Mischief:
    """Does things to one daemon, and counts them in `done`. `kills` are what may have a job run twice."""

    def __init__(self, daemon: Daemon, chance: random.Random, *, rough: bool) -> None:
        self._daemon, self._chance = daemon, chance
        self.done: Counter[str] = Counter()
        self.kills = self.starts = 0
        gentle = [(self._signal_master, 6), (self._reload, 2), (self._suspend_master, 1), (self._ask, 4)]
        gentle += [(self._signal_child, 6), (self._suspend_child, 2), (self._scrape, 2)]
        harsh = [(self._kill_child, 6), (self._kill_master, 1)] if rough else []
        self._acts: list[Act] = [act for act, _ in (*gentle, *harsh)]
        self._weights = [weight for _, weight in (*gentle, *harsh)]

    def act(self) -> None:
        """Do one thing."""
        self._chance.choices(self._acts, self._weights)[0]()

    def stop(self, how: str) -> tuple[int, float]:
        """Stop the daemon in one of the ways of STOPS: its exit code, and the seconds that it took."""
        self.done[f"stop by {how}"] += 1
        daemon, begun = self._daemon, time.monotonic()
        if how == "ctl stop":
            daemon.ask("stop")
        elif how == "frozen child":
            self._freeze_a_child()
            daemon.signal(signal.SIGTERM)
        elif how == "INT INT":
            daemon.signal(signal.SIGINT)
            with contextlib.suppress(AssertionError):
                daemon.wait(SECOND_INT_AFTER)
            if daemon.is_alive:
                daemon.signal(signal.SIGINT)
        else:
            for name in how.split():
                if daemon.is_alive:
                    daemon.signal(signal.Signals[f"SIG{name}"])
                _pause(self._chance.uniform(0, 0.1))
        return daemon.wait(30.0), time.monotonic() - begun

    def _signal_master(self) -> None:
        name = self._chance.choice(GENTLE_SIGNALS)
        self._count(f"{name} to the master")
        for _ in range(self._chance.choice((1, 1, 1, 5))):
            self._daemon.signal(signal.Signals[f"SIG{name}"])

    def _reload(self) -> None:
        self._count("HUP to the master")
        kind = self._chance.choice(("same", "changed", "wrong"))
        if kind == "changed":
            changes = {"concurrency": self._chance.randint(2, 4), "processes": self._chance.randint(2, 3)}
            self._daemon.configure(**changes, log_level=self._chance.choice(("info", "debug")))
        elif kind == "wrong":
            self._daemon.write_config("concurrency: many\nno_such_key: 1")
        self._daemon.signal(signal.SIGHUP)

    def _suspend_master(self) -> None:
        self._count("STOP and CONT to the master")
        self._daemon.signal(signal.SIGSTOP)
        _pause(self._chance.uniform(0, 0.3))
        self._daemon.signal(signal.SIGCONT)

    def _ask(self) -> None:
        request = self._chance.choice(("status", "quiet", "resume", "restart", "reload", "scale"))
        self._count(f"ctl {request}")
        self._daemon.ask(request, self._chance.randint(2, 4) if request == "scale" else None)

    def _scrape(self) -> None:
        self._count("scrape")
        self._daemon.scrape()

    def _signal_child(self) -> None:
        self._to_child(self._chance.choice(CHILD_SIGNALS))

    def _kill_child(self) -> None:
        name = self._chance.choice(CHILD_KILLS)
        self.kills += self._to_child(name)

    def _suspend_child(self) -> None:
        pid = self._child()
        if pid is not None:
            self._count("STOP and CONT to a child")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                _pause(self._chance.uniform(0, 0.3))
                os.kill(pid, signal.SIGCONT)

    def _kill_master(self) -> None:
        self._count("KILL to the master")
        self.kills += 1
        self.starts += 1
        self._daemon.signal(signal.SIGKILL)
        assert self._daemon.wait(5.0) == -signal.SIGKILL
        self._daemon.start()

    def _freeze_a_child(self) -> None:
        pid = self._child()
        if pid is not None:
            self.kills += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def _to_child(self, name: str) -> bool:
        pid = self._child()
        if pid is None:
            return False
        self._count(f"{name} to a child")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.Signals[f"SIG{name}"])
        return True

    def _child(self) -> int | None:
        children = sorted(self._daemon.children())
        return self._chance.choice(children) if children else None

    def _count(self, what: str) -> None:
        self.done[what] += 1


def _pause(seconds: float) -> None:
    """Part of what a round does to a daemon, and no wait for anything."""
    time.sleep(seconds)
