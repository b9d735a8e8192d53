"""Rounds one after the other: a seed, an empty directory and a line for each; the files of one that went wrong stay."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from tests.chaos.daemon import Daemon, adopt_orphans

TOLD = 1_000
"""Characters of what went wrong half-way that are printed."""


class Round(Protocol):
    """What one round was."""

    problems: list[str]

    def line(self, number: int) -> str:
        """In one line, and one more for each problem."""


R = TypeVar("R", bound=Round)


def run_rounds(
    count: int, seed: int, run: Callable[[int, Path], R], failed: Callable[[int, list[str]], R]
) -> Sequence[R]:
    """So many rounds, the first with this seed, the next with the one after it; prints a line for each.

    `run` is given a seed and a directory, `failed` a seed and what went wrong half-way.
    """
    rounds = []
    for number in range(1, count + 1):
        directory = Path(tempfile.mkdtemp(prefix="jobd-chaos-"))
        try:
            done = run(seed, directory)
        except Exception as error:
            done = failed(seed, [f"{type(error).__name__}: {str(error)[-TOLD:]}"])
        except BaseException:
            _kill_the_rest(directory)
            raise
        if done.problems:
            _kill_the_rest(directory)
            done.problems.append(f"its files are in {directory}")
        else:
            shutil.rmtree(directory)
        print(done.line(number), flush=True)
        rounds.append(done)
        seed += 1
    return rounds


def main(run: Callable[[int, int], Sequence[R]], summary: Callable[[Sequence[R]], Mapping[str, object]]) -> int:
    """Have `run` do as many rounds as the arguments say; the seed is `$JOBD_CHAOS_SEED` unless it is given."""
    arguments = dict(enumerate(sys.argv[1:]))
    count = int(arguments.get(0, 20))
    seed = int(arguments.get(1) or os.environ.get("JOBD_CHAOS_SEED") or random.randrange(10**6))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    adopt_orphans()
    rounds = run(count, seed)
    print(json.dumps(summary(rounds), indent=1, ensure_ascii=False))
    return int(any(each.problems for each in rounds))


def spread(values: Sequence[float]) -> str:
    """How many, the least, the median and the most of some seconds."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{len(values)} × {low:.2f} … {middle:.2f} … {high:.2f} s"


def _kill_the_rest(directory: Path) -> None:
    """After a round that failed half-way."""
    Daemon(directory, "").kill_everything(random.Random(0))
