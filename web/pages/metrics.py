"""Figures of each class over a period, and of one class over time: runs, failures, how long they took, percentiles."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from jobd.client.deploys import DeployMark
from jobd.client.metric_keys import range_of
from jobd.client.metrics import estimate
from jobd.web.class_waits import MORE_THAN, ask_p95s, ask_waits, told
from jobd.web.context import BadRequest, Context, Download, View
from jobd.web.deploys import ask_deploys, masked, shown
from jobd.web.figures import SPANS, Point, Rows, total
from jobd.web.filters import narrowed
from jobd.web.moved import FEWEST, compared, moves
from jobd.web.questions import Question, together

T = TypeVar("T")

PERIODS = tuple(SPANS)
ROWS = 50
TREND = 24
"""Steps in which the runs of a class are drawn beside it."""
MOVED = 10
"""What moved with a deploy that is shown at most."""
WITH_PERCENTILES = 20
"""Classes, those that took most time, whose histograms are read."""
PERCENTILE_PERIODS = ("1h", "4h", "8h")
"""Periods for which histograms are kept."""
_BOTH_PERIODS = ("1h", "4h")
"""Those of them for which the histograms of the period before are kept too."""
_PERCENTS = (50, 95, 99)
_COLUMNS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "class": lambda row: row["class"],
    "ran": lambda row: row["executed"],
    "failed": lambda row: row["failed"],
    "rate": lambda row: row["failure_rate"],
    "time": lambda row: row["milliseconds"],
    "share": lambda row: row["share"],
    "average": lambda row: row["average"],
    "p50": lambda row: row["p50"],
    "p95": lambda row: row["p95"],
    "p99": lambda row: row["p99"],
    "waited": lambda row: row["wait_p95"],
}
_OF_PERCENTILES = ("p50", "p95", "p99", "waited")
_CSV = (
    *("class", "executed", "failed", "failure_rate", "milliseconds", "share", "average"),
    *(f"p{percent}" for percent in _PERCENTS),
    "wait_p95",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""With these a cell begins that a spreadsheet would calculate."""

Counted = tuple[Sequence[Point], list[Rows | None], list[Rows | None]]
"""Points of a period, their rows, and those of the points of the period before."""


def show(ctx: Context) -> View:
    """Show the classes, those that took most time first."""
    period, offset, compare = _period(ctx), ctx.number("offset"), bool(ctx.number("compare", 1))
    counted, rows, since_deploy = _rows(ctx, period, compare=compare)
    classes = [{**row, "trend": _trend(counted[1], row["class"])} for row in rows[offset : offset + ROWS]]
    data = {
        "period": period,
        "periods": list(PERIODS),
        "q": ctx.text(),
        "sort": _sort(ctx),
        "columns": [name for name in _COLUMNS if period in PERCENTILE_PERIODS or name not in _OF_PERCENTILES],
        "compare": compare,
        "comparable": SPANS[period].before is not None,
        "count": len(rows),
        "offset": offset,
        "next": offset + ROWS if offset + ROWS < len(rows) else None,
        "classes": classes,
        "since": counted[0][0].start,
        "percentiles": period in PERCENTILE_PERIODS,
        "with_percentiles": WITH_PERCENTILES,
        "longest": MORE_THAN,
        "since_deploy": since_deploy,
        "fewest": FEWEST,
        **_completeness(counted, ctx),
    }
    return View("metrics.html", data, "Metrics")


def table(ctx: Context) -> Download:
    """The same as a table for spreadsheets, with all classes."""
    period = _period(ctx)
    _, rows, _ = _rows(ctx, period, compare=False)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_CSV)
    for row in rows:
        writer.writerow("" if row[name] is None else _cell(row[name]) for name in _CSV)
    return Download(f"metrics-{period}.csv", iter([text.getvalue().encode("utf-8", "replace")]), "text/csv")


def _cell(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _period(ctx: Context) -> str:
    period = ctx.query.get("period", "1h")
    if period not in PERIODS:
        raise BadRequest(f"period is {period[:50]!r}; give one of {', '.join(PERIODS)}")
    return period


def _sort(ctx: Context) -> str:
    given = ctx.query.get("sort", "") or "-time"
    if given.removeprefix("-") not in _COLUMNS:
        raise BadRequest(f"sort is {given[:50]!r}; give one of {', '.join(_COLUMNS)}, with - before it downwards")
    return given


def _rows(ctx: Context, period: str, *, compare: bool) -> tuple[Counted, list[dict[str, Any]], dict[str, Any] | None]:
    """What was counted, a row of each class whose name is searched for, sorted as was asked for, and what has moved."""
    sort, match, now = _sort(ctx), ctx.text(), ctx.access.now()
    found, marks = ctx.ask(_ask_all(ctx, period, match, compare=compare), ask_deploys(ctx.access, now))
    counted, totals, histograms, waits = found
    ctx.read_totals()
    points, _, earlier = counted
    before = total(earlier) if compare and None not in earlier else {}
    whole = sum(counts[2] for counts in totals.values())
    rows = []
    for name in (name for name in totals if match in name):
        row = {"class": name, **_figures(totals[name], whole, _added(histograms[name]) if name in histograms else None)}
        row["wait_p95"] = waits.get(name)
        if before or compare:
            row["before"] = _figures(before[name], 0, None) if name in before else None
        rows.append(row)
    mark = next((mark for mark in marks if mark.at >= points[0].start), None)
    since_deploy = _since(mark, ctx, counted, histograms, match) if mark else None
    return counted, _sorted(rows, sort), since_deploy


def _split(points: Sequence[Point], rows: Sequence[T], at: float) -> tuple[list[T], list[T], list[T]]:
    """What belongs to the points that ended before a time, to the one in which it lies, and to those after it."""
    ends = sum(point.end <= at for point in points)
    begins = sum(point.start < at for point in points)
    return list(rows[:ends]), list(rows[ends:begins]), list(rows[begins:])


def _since(
    mark: DeployMark,
    ctx: Context,
    counted: Counted,
    histograms: Mapping[str, Sequence[Sequence[int]]],
    match: str,
) -> dict[str, Any]:
    """What has moved with a deploy, of the classes whose name is searched for."""
    points, told, _ = counted
    sides = (total(rows) for rows in _split(points, told, mark.at)[::2])
    before, after = ({name: counts for name, counts in side.items() if match in name} for side in sides)
    both = {}
    for name, each in histograms.items():
        first, _, last = _split(points, each, mark.at)
        if first and last:
            both[name] = (_added(first), _added(last))
    found = moves(before, after, both)
    return {
        "at": mark.at,
        "label": masked(mark.label, ctx.masker),
        "compared": len(compared(before, after)),
        "moved": [
            {"class": each.name, "what": each.what, "before": each.before, "after": each.after, "worse": each.worse}
            for each in found[:MOVED]
        ],
        "more": max(len(found) - MOVED, 0),
    }


def _trend(told: Sequence[Rows | None], name: str) -> list[int]:
    """The runs of a class over time, in few steps of the same length up to the last point that is complete."""
    runs = [rows[name][0] if rows and name in rows else 0 for rows in told[:-1] or told]
    width = -(-len(runs) // TREND)
    return [sum(runs[first : first + width]) for first in range(len(runs) % width, len(runs), width)]


def _sorted(rows: Iterable[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """In the order that was asked for; what has no value comes last in both directions."""
    value, down = _COLUMNS[sort.removeprefix("-")], sort.startswith("-")
    ordered = sorted(rows, key=lambda row: row["class"])
    known = sorted((row for row in ordered if value(row) is not None), key=value, reverse=down)
    return known + [row for row in ordered if value(row) is None]


def _ask_all(
    ctx: Context, period: str, match: str, *, compare: bool
) -> Question[tuple[Counted, dict[str, list[int]], dict[str, list[Sequence[int]]], dict[str, float | None]]]:
    """What was counted, and over all points; of the first classes the histogram of each point and the p95 of waits."""
    counted = yield from _ask_counted(ctx, period, compare=compare)
    points, told, _ = counted
    totals = total(told)
    if period not in PERCENTILE_PERIODS:
        return counted, totals, {}, {}
    found = {name: counts for name, counts in totals.items() if match in name}
    first = sorted(found, key=lambda name: (-found[name][2], -found[name][0], name))[:WITH_PERCENTILES]
    keys, now = ctx.access.keys, ctx.access.now()
    histograms, waits = yield from together(
        ctx.shared.figures.ask_histograms(keys, now, first, points),
        ask_p95s(ctx.access, first, period, points[0].start),
    )
    return counted, totals, histograms, waits


def _ask_counted(ctx: Context, period: str, *, compare: bool) -> Question[Counted]:
    keys, now, span = ctx.access.keys, ctx.access.now(), SPANS[period]
    points = span.now(now)
    both = points + (span.earlier(now) if compare else [])
    told = yield from ctx.shared.figures.ask(keys, now, both, hurried=ctx.for_people)
    ctx.shared.figures.read_on(ctx.access, both)
    return points, told[: len(points)], told[len(points) :]


def _added(histograms: Sequence[Sequence[int]]) -> Sequence[int]:
    return [sum(counts) for counts in zip(*histograms, strict=True)]


def _figures(counts: Sequence[int], whole: int, histogram: Sequence[int] | None) -> dict[str, Any]:
    """What the counts of a class say; percentiles are None where no histogram tells them."""
    executed, failed, milliseconds = counts
    succeeded = executed - failed
    return {
        "executed": executed,
        "failed": failed,
        "failure_rate": failed / executed if executed > 0 else 0.0,
        "milliseconds": milliseconds,
        "share": milliseconds / whole if whole else 0.0,
        "average": milliseconds / succeeded if succeeded > 0 else None,
        **_percentiles(histogram),
    }


def _percentiles(histogram: Sequence[int] | None) -> dict[str, float | None]:
    known = histogram is not None and sum(histogram) > 0
    return {
        f"p{percent}": estimate(histogram, percent).milliseconds if known and histogram else None
        for percent in _PERCENTS
    }


def _completeness(counted: Counted, ctx: Context) -> dict[str, Any]:
    points, told, _ = counted
    known = sum(1 for rows in told if rows is not None)
    too_much = ctx.shared.figures.is_too_much(points)
    return {"complete": known == len(told), "points": len(told), "known": known, "too_much": too_much}


def name_in(ctx: Context) -> str:
    """The class that a request is about. Raises `BadRequest` without any."""
    name = ctx.query.get("name") or ctx.path.get("name", "")
    if not name or len(name) > 1_000:
        raise BadRequest("give the name of a class")
    return name


def show_class(ctx: Context) -> View:
    """Show one class over time, beside the period before."""
    period, name = _period(ctx), name_in(ctx)
    moment = ctx.access.now()
    (counted, now, before), marks, waits = ctx.ask(
        _ask_class(ctx, period, name),
        ask_deploys(ctx.access, moment),
        ask_waits(ctx.access, name, period, SPANS[period].now(moment)[0].start),
    )
    points, known, earlier = counted
    ctx.read_totals()
    nothing = (0, 0, 0)
    before_that = _figures(total(earlier).get(name, nothing), 0, _added(before) if before else None)
    percentiles = period in PERCENTILE_PERIODS
    series = [
        _moment(point, rows, name, now[place] if now else None)
        for place, (point, rows) in enumerate(zip(points, known, strict=True))
    ]
    data = {
        "class_name": name,
        "period": period,
        "periods": list(PERIODS),
        "since": points[0].start,
        "now_figures": _figures(total(known).get(name, nothing), 0, _added(now) if now else None),
        "before": before_that if SPANS[period].before is not None and None not in earlier else None,
        "percentiles": percentiles,
        "histogram": _histogram(_added(now)) if now else None,
        "waits": told(waits),
        "series": series,
        "deploys": shown(marks, ctx.masker, points[0].start, ctx.access.now()),
        "links": narrowed("", "class", name) if name.isprintable() else "",
        **_completeness(counted, ctx),
    }
    drawn = _charts(ctx, series, percentiles=percentiles) if ctx.for_people else {}
    return View("metrics_class.html", {**data, **drawn}, "Metrics")


def _ask_class(
    ctx: Context, period: str, name: str
) -> Question[tuple[Counted, list[Sequence[int]], list[Sequence[int]]]]:
    """What was counted, and the histograms of the points of the period and of the one before."""
    counted = yield from _ask_counted(ctx, period, compare=True)
    if period not in PERCENTILE_PERIODS:
        return counted, [], []
    keys, now = ctx.access.keys, ctx.access.now()
    points = counted[0]
    earlier = SPANS[period].earlier(points[-1].start) if period in _BOTH_PERIODS else []
    found = yield from ctx.shared.figures.ask_histograms(keys, now, [name], [*points, *earlier])
    return counted, found[name][: len(points)], found[name][len(points) :]


def _moment(point: Point, rows: Rows | None, name: str, histogram: Sequence[int] | None) -> dict[str, Any]:
    """One point of a class; all None while it is not read."""
    if rows is None:
        empty = dict.fromkeys(("executed", "failed", "average", "p50", "p95", "p99"))
        return {"start": point.start, **empty}
    found = _figures(rows.get(name, (0, 0, 0)), 0, histogram)
    return {"start": point.start, **{key: found[key] for key in ("executed", "failed", "average", "p50", "p95", "p99")}}


def _histogram(counts: Sequence[int]) -> list[dict[str, Any]]:
    """Each bucket with its bounds in milliseconds; the last one has no upper bound."""
    found = []
    for bucket, count in enumerate(counts):
        low, high = range_of(bucket)
        found.append({"low": low, "high": None if math.isinf(high) else high, "count": count})
    return found


def _charts(ctx: Context, series: Sequence[dict[str, Any]], *, percentiles: bool) -> dict[str, Any]:
    """The same as the drawings of the page take it."""
    x = [each["start"] for each in series]
    runs = [("executed", "Ran", "done"), ("failed", "Failed", "dead")]
    lengths = [("average", "Average", "done")]
    if percentiles:
        lengths = [("p50", "p50", "running"), ("p95", "p95", "scheduled"), ("p99", "p99", "retry"), *lengths]

    def lines(named: Sequence[tuple[str, str, str]], factor: float) -> list[dict[str, Any]]:
        return [
            {
                "label": ctx.t(label),
                "state": state,
                "values": [None if each[key] is None else each[key] * factor for each in series],
            }
            for key, label, state in named
        ]

    return {
        "runs_chart": {"x": x, "series": lines(runs, 1), "unit": "count", "unfinished": True},
        "length_chart": {"x": x, "series": lines(lengths, 0.001), "unit": "seconds", "unfinished": True},
    }
