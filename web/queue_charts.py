"""The charts of one queue: how full it was, what came and went, how long its next job had waited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jobd.client.access import Access
from jobd.client.history import RINGS, Step, highest, increases
from jobd.client.queue_history import QueueSample, joined, read, ring_key
from jobd.web.context import Context
from jobd.web.questions import Question
from jobd.web.recent import RANGES, Range, edges

_WIDTHS = {"5m": 10.0, "1h": 120.0, "6h": 600.0, "24h": 1800.0, "3d": 7200.0}
QUEUE_RANGES = {name: replace(RANGES[name], width=width) for name, width in _WIDTHS.items()}
"""As those of the first page, in fewer points: the page has the jobs besides."""


def ask_samples(access: Access, name: str, wanted: Range) -> Question[list[QueueSample]]:
    """What was recorded of a queue, as far as a range needs it."""
    steps: list[Step] = ["10s"] if wanted.step == "10s" else list(RINGS)
    [raws] = yield lambda pipeline: pipeline.mget([ring_key(access.keys, step, name) for step in steps])
    now = access.now()
    found = {step: read(step, raw, now) for step, raw in zip(steps, raws or [None] * len(steps), strict=True)}
    return joined(found.get("5m", []), found["10s"])


def charts(ctx: Context, samples: Sequence[QueueSample], wanted: Range, *, counted: bool) -> dict[str, Any]:
    """What is drawn: `depth`, `flow` where all who take from the queue count it, and `wait`; none without samples."""
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
    waited = highest(samples, "latency", between)
    found["wait"] = chart("seconds", False, ("Next job has waited", "retry", waited))
    return found
