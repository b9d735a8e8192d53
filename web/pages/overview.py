"""The first page: how it goes, the totals, the last hours and days, what needs attention; and the totals alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import dropwhile
from typing import Any

from jobd.client.history import Sample, highest, increases
from jobd.client.processes import number
from jobd.web.context import BadRequest, Context, View
from jobd.web.deploys import ask_deploys, shown
from jobd.web.filters import narrowed
from jobd.web.questions import Question
from jobd.web.recent import RANGES, Slow, Trend, ask_samples, ask_slow, ask_trend, edges
from jobd.web.totals import Attention, Totals, attention, health
from jobd.web.trends import trends

DAYS = (7, 30, 90, 180)
QUEUES = 10
"""Queues of the strip, the fullest."""
_DAY = 24 * 3600.0
_HOUR = 3600.0
_COUNTERS = ("processed", "failed")
_FIGURES = ("processed", "failed", "busy", "enqueued", "retries", "scheduled", "dead")
_RATE_SPAN = 60.0
_LONGEST = RANGES["1h"].longest


def ask_days(ctx: Context, days: int) -> Question[list[dict[str, Any]]]:
    """What was processed and failed on each of the last days (UTC), today last."""
    keys, now = ctx.access.keys, ctx.access.now()
    moments = [now - back * _DAY for back in range(days - 1, -1, -1)]
    names = [make(moment) for moment in moments for make in (keys.stat_processed_on, keys.stat_failed_on)]
    [values] = yield lambda pipeline: pipeline.mget(names)
    counts = [int(number(value)) for value in values or [0] * len(names)]
    return [
        {"day": datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d"), "processed": done, "failed": failed}
        for moment, done, failed in zip(moments, counts[::2], counts[1::2], strict=True)
    ]


def overview(ctx: Context) -> View:
    """Show how it goes."""
    chosen, days = _chosen(ctx)
    now = ctx.access.now()
    if days:
        samples, history, slow, marks = ctx.ask(
            _ask_hour(ctx, now), ask_days(ctx, days), ask_slow(ctx.access, now), ask_deploys(ctx.access, now)
        )
        trend = _of_days(history, now)
    else:
        recent = ask_trend(ctx.access, ctx.shared.figures, now, chosen, hurried=ctx.for_people)
        (samples, trend), slow, marks = ctx.ask(recent, ask_slow(ctx.access, now), ask_deploys(ctx.access, now))
        history = []
    totals = ctx.read_totals()
    grown = trends(samples, slow, now)
    ctx.shared.keep_trends(len(grown))
    found = [*attention(totals), *grown]
    sentence, values = health(totals, found)
    data = {
        "health": {"text": sentence, "values": values},
        "rates": rates(samples, now),
        "attention": [_told(each) for each in found],
        "totals": totals.document(),
        "courses": [_course(name, totals, samples, now) for name in _FIGURES],
        "range": chosen,
        "ranges": list(RANGES),
        "history": history,
        "days": days,
        "source": trend.source,
        "width": trend.width,
        "charts": _charts(trend, ctx),
        "deploys": shown(marks, ctx.masker, trend.starts[0], now),
        "last_deploy": next(iter(shown(marks[:1], ctx.masker, 0.0, now)), None),
        "queues": _queues(totals),
        "failing": _failing(slow),
        "now": totals.now,
    }
    return View("overview.html", data, "Dashboard")


def _chosen(ctx: Context) -> tuple[str, int]:
    """A range, or a number of days. Raises `BadRequest`."""
    days, chosen = ctx.number("days", 365), ctx.query.get("range", "")
    if days and days not in DAYS:
        raise BadRequest(f"days is {days}; give one of {', '.join(map(str, DAYS))}")
    if chosen and chosen not in RANGES:
        raise BadRequest(f"range is {chosen[:20]!r}; give one of {', '.join(RANGES)}")
    return ("", days) if days and not chosen else (chosen or "1h", 0)


def _ask_hour(ctx: Context, now: float) -> Question[list[Sample]]:
    found = yield from ask_samples(ctx.access, now)
    return found["10s"]


def _of_days(history: Sequence[Mapping[str, Any]], now: float) -> Trend:
    last = now // _DAY * _DAY
    starts = [last - _DAY * back for back in range(len(history) - 1, -1, -1)]
    return Trend("days", _DAY, starts, [day["processed"] for day in history], [day["failed"] for day in history])


def _told(each: Attention) -> dict[str, Any]:
    return {"page": each.page, "text": each.text, "values": each.values}


def rates(samples: Sequence[Sample], now: float) -> dict[str, float] | None:
    """Jobs processed and failed in a second, over the last minute of which it is known; None where it is not."""
    if not samples or now - samples[-1].at > _RATE_SPAN:
        return None
    end = samples[-1].at
    found = {name: increases(samples, name, [end - _RATE_SPAN, end], _LONGEST)[0] for name in _COUNTERS}
    known = {name: value / _RATE_SPAN for name, value in found.items() if value is not None}
    return known if len(known) == len(found) else None


def _course(name: str, totals: Totals, samples: Sequence[Sample], now: float) -> dict[str, Any]:
    """A total with its course over the last hour, and by how much it changed since the oldest sample of that."""
    within = [sample for sample in samples if sample.at >= now - _HOUR]
    between = edges(_HOUR, 60.0, now)
    values = increases(within, name, between, _LONGEST) if name in _COUNTERS else highest(within, name, between)
    value = getattr(totals, name)
    change = value - getattr(within[0], name) if within else None
    if change is not None and name in _COUNTERS:
        change = max(change, 0)
    return {
        "figure": name,
        "value": value,
        "change": None if change is None else int(change),
        "since": within[0].at if within else None,
        "values": list(dropwhile(lambda value: value is None, values[:-1] if name in _COUNTERS else values)),
    }


def _charts(trend: Trend, ctx: Context) -> dict[str, Any]:
    """What is drawn: what was done, and what waited where that was recorded."""
    done = [
        {"label": ctx.t("Processed"), "state": "done", "values": list(trend.processed)},
        {"label": ctx.t("Failed"), "state": "dead", "values": list(trend.failed)},
    ]
    found = {"done": {"x": list(trend.starts), "series": done, "unit": "count", "unfinished": True}}
    for name, label, state, unit in (
        ("enqueued", "Enqueued", "enqueued", "count"),
        ("latency", "Next job has waited", "retry", "seconds"),
    ):
        if trend.waiting_starts:
            series = [{"label": ctx.t(label), "state": state, "values": list(getattr(trend, name))}]
            found[name] = {"x": list(trend.waiting_starts), "series": series, "unit": unit, "unfinished": False}
    return found


def _queues(totals: Totals) -> list[dict[str, Any]]:
    """The fullest queues, each with the share that it has of the fullest."""
    takers = totals.takers
    most = max((queue.size for queue in totals.queues), default=0)
    return [
        {
            "name": queue.name,
            "size": queue.size,
            "share": queue.size / most if most else 0.0,
            "latency": queue.latency,
            "paused": queue.paused,
            "served": queue.name in takers,
            "over": list(totals.over(queue)),
        }
        for queue in totals.queues[:QUEUES]
    ]


def _failing(slow: Slow) -> list[dict[str, Any]]:
    return [
        {
            "class": each.name,
            "executed": each.executed,
            "failed": each.failed,
            "muted": each.name in slow.muted,
            "q": narrowed("", "class", each.name) if each.name.isprintable() else "",
        }
        for each in slow.failing
    ]


def totals_only(ctx: Context) -> View:
    """The totals alone, for programs and for pages that ask again and again."""
    return View("", ctx.read_totals().document(), "Totals")


def stats(ctx: Context) -> View:
    """The totals as Sidekiq's `/stats` has them; figures of Redis are left out, which cost a command each time."""
    totals = ctx.read_totals()
    latency = next((queue.latency for queue in totals.queues if queue.name == "default"), 0.0)
    sidekiq = {
        "processed": totals.processed,
        "failed": totals.failed,
        "busy": totals.busy,
        "processes": len(totals.processes),
        "enqueued": totals.enqueued,
        "scheduled": totals.scheduled,
        "retries": totals.retries,
        "dead": totals.dead,
        "default_latency": latency,
    }
    now = datetime.fromtimestamp(totals.now, UTC)
    return View("", {"sidekiq": sidekiq, "redis": {}, "server_utc_time": f"{now:%H:%M:%S} UTC"}, "Stats")


def stats_queues(ctx: Context) -> View:
    """The size of each queue, as Sidekiq's `/stats/queues`."""
    sizes: Mapping[str, int] = {queue.name: queue.size for queue in ctx.read_totals().queues}
    return View("", dict(sizes), "Stats")
