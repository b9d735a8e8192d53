"""Which ticks of a cron entry are to be run now, which are given up. Pure: the time is passed in."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from jobd.client import defaults
from jobd.client.cron import CatchUp
from jobd.client.cron_expression import Schedule


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the ticks of an entry have come, as Redis shows it. Times are epoch seconds.

    `since` is when the entry began to tick, `last` the last tick before the minute (`CRON_GRACE`) that is past;
    `claimed` are the ticks since then that somebody has.
    """

    since: float
    last: float
    claimed: Collection[float] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done about the ticks of an entry.

    `run` are to be pushed, in order. `late` is the last of those that are given up, None without any, and `missed` how
    many were missed and are not run, as far as was counted: they come before `late`, or before the first of `run`.
    """

    run: Sequence[float] = ()
    late: float | None = None
    missed: int = 0


def due(schedule: Schedule, reached: Reached, now: float, catch_up: CatchUp) -> Due:
    """Decide about all ticks up to `now`.

    Those of the last minute are run as if they were on time, so that a new process carries on where another was
    killed. What becomes of older ones is up to the entry: nothing, a run of the last one, or of the last 1,000.
    """
    border = math.nextafter(now - defaults.CRON_GRACE, -math.inf)
    on_time = [tick for tick in schedule.between(max(reached.since, border), now) if tick not in reached.claimed]
    missed, count = schedule.latest(max(reached.since, reached.last), border, defaults.CRON_CATCH_UP)
    if not missed:
        return Due(on_time)
    if catch_up == "all":
        made_up = missed[-(defaults.CRON_CATCH_UP - len(on_time)) :]
        return Due([*made_up, *on_time], missed=count - len(made_up))
    if catch_up == "once":
        return Due([missed[-1], *on_time], missed=count - 1)
    return Due(on_time, late=missed[-1], missed=count - 1)
