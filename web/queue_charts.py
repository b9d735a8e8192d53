"""The charts of one queue: how full it was, what came and went, how long its next job had waited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobd.client.access import Access
from jobd.client.history import RINGS, Step, highest, increases
from jobd.client.queue_history import QueueSample, joined, read, ring_key
from jobd.client.queue_waits import Waited, sources_of, waited
from jobd.client.scripts import raw_bytes
from jobd.web.context import Context
from jobd.web.questions import Question
from jobd.web.recent import RANGES, edges

_WIDTHS = {"5m": 10.0, "1h": 180.0, "6h": 900.0, "24h": 3600.0, "3d": 10800.0}
QUEUE_RANGES = {name: replace(RANGES[name], width=width) for name, width in _WIDTHS.items()}
"""As those of the first page, in fewer points: the page has the jobs besides."""


SHARES = ("p50", "p95", "p99")
_WAIT_WIDTHS = {"5m": 60.0, "1h": 180.0, "6h": 1800.0, "24h": 3600.0, "3d": 10800.0}
"""Seconds in which waits are put together: they are counted by the minute, and by the half hour."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is known of a queue within a range: its samples, and how long its jobs had waited."""

    samples: Sequence[QueueSample]
    waits: Sequence[Waited]


def ask_recorded(access: Access, name: str, drawn: str) -> Question[Recorded]:
    """What was recorded of a queue, as far as a range needs it."""
    wanted, now = QUEUE_RANGES[drawn], access.now()
    steps: list[Step] = ["10s"] if wanted.step == "10s" else list(RINGS)
    between = edges(wanted.span, _WAIT_WIDTHS[drawn], now)
    waits = sources_of(access.keys, name, between, now)
    asked = [*(ring_key(access.keys, step, name) for step in steps), *(raw_bytes(each.key) for each in waits)]
    [raws] = yield lambda pipeline: pipeline.mget(asked)
    raws = raws or [None] * len(asked)
    found = {step: read(step, raw, now) for step, raw in zip(steps, raws[: len(steps)], strict=True)}
    counted = waited(waits, raws[len(steps) :], between)
    return Recorded(joined(found.get("5m", []), found["10s"]), counted)


def charts(ctx: Context, recorded: Recorded, drawn: str, *, counted: bool) -> dict[str, Any]:
    """What is drawn: `depth`, `flow` where all who take from the queue count it, and `wait`; none without samples."""
    wanted, samples = QUEUE_RANGES[drawn], recorded.samples
    between = edges(wanted.span, wanted.width, ctx.access.now())
    if not any(sample.at >= between[0] for sample in samples):
        return {}

    def chart(unit: str, unfinished: bool, *lines: tuple[str, str, Sequence[float | None]]) -> dict[str, Any]:
        series = [{"label": ctx.t(label), "state": state, "values": list(values)} for label, state, values in lines]
        return {"x": between[:-1], "series": series, "unit": unit, "unfinished": unfinished}

    def grown(name: str) -> list[float | None]:
        found = increases(samples, name, between, wanted.longest)
        return [None if value is None else round(value) for value in found]

    found = {"depth": chart("count", False, ("Jobs that wait", "enqueued", highest(samples, "size", between)))}
    if counted:
        lines = (("Came", "enqueued", grown("added")), ("Taken", "running", grown("taken")))
        found["flow"] = chart("count", True, *lines, ("Failed", "dead", grown("failed")))
    if not any(each.count for each in recorded.waits):
        found["wait"] = chart("seconds", False, ("Next job has waited", "retry", highest(samples, "latency", between)))
        return found
    between = [*(each.start for each in recorded.waits), between[-1]]
    shares = [(share, "running", [_short(getattr(each, share)) for each in recorded.waits]) for share in SHARES]
    waits = chart("seconds", True, *shares, ("Next job has waited", "retry", highest(samples, "latency", between)))
    return {**found, "wait": {**waits, "log": True}}


def _short(seconds: float | None) -> float | None:
    """To three digits: a percentile is off by more."""
    return None if seconds is None else float(f"{seconds:.3g}")
