"""The first page: how it goes, the totals, the last days; and the totals for programs, Sidekiq's `/stats` too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jobd.client.processes import number
from jobd.web.context import BadRequest, Context, View
from jobd.web.questions import Question
from jobd.web.totals import attention, health

DAYS = (7, 30, 90, 180)
_DAY = 24 * 3600.0


def ask_history(ctx: Context, days: int) -> Question[list[dict[str, Any]]]:
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
    days = ctx.number("days", 365) or 30
    if days not in DAYS:
        raise BadRequest(f"days is {days}; give one of {', '.join(map(str, DAYS))}")
    [history] = ctx.ask(ask_history(ctx, days))
    totals = ctx.read_totals()
    sentence, values = health(totals)
    data = {
        "health": {"text": sentence, "values": values},
        "attention": [{"page": each.page, "text": each.text, "values": each.values} for each in attention(totals)],
        "totals": totals.document(),
        "history": history,
        "days": days,
    }
    return View("overview.html", data, "Dashboard")


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


def bars(history: list[dict[str, Any]], width: float = 720.0, height: float = 120.0) -> list[dict[str, Any]]:
    """Where the bars of a history stand in a drawing of this size: successes below, failures above them."""
    most = max((day["processed"] for day in history), default=0) or 1
    step = width / max(len(history), 1)
    found = []
    for place, day in enumerate(history):
        whole = min(day["processed"], most) / most * height
        failed = min(day["failed"], day["processed"]) / most * height
        found.append(
            {
                **day,
                "x": round(place * step + step * 0.1, 2),
                "width": round(step * 0.8, 2),
                "done_y": round(height - whole + failed, 2),
                "done_height": round(whole - failed, 2),
                "failed_y": round(height - whole, 2),
                "failed_height": round(failed, 2),
            }
        )
    return found
