"""Where the lines of a chart go: numbers in, coordinates and words out; templates/charts.html draws them.

A drawing is 1,000 units wide and 200 high and is stretched to its place; words stand beside it and keep their size.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobd.web.text import printable

WIDTH, HEIGHT = 1000, 200
MOST_POINTS = 500
MOST_ROWS = 120
"""Of the table behind a chart."""
GLYPHS = {"enqueued": "▤", "running": "▶", "scheduled": "◷", "retry": "↻", "dead": "✕", "done": "✓"}
"""Of each state that a line can stand for."""
LOWEST = 0.001
"""The foot of a chart by powers of ten."""
MOST_TOLD = 60
"""Characters of the label of a deploy in the table behind a chart, and for scripts."""
MOST_FLAG = 16
"""Characters of it in the drawing."""
_PERCENT_OF_A_LETTER = 1.4
"""Of the width of a narrow chart."""
_DAY = 24 * 3600.0
_SPARK = (100, 24)
_STEPS = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One series: what it is called, the runs of points without a gap, and the part that is not complete.

    `last` is the last value that is complete.
    `nth` counts the lines of the same state before it, which are told apart by their dashes.
    """

    label: str
    state: str
    glyph: str
    nth: int
    runs: tuple[str, ...]
    areas: tuple[str, ...]
    unfinished: str
    last: str


@dataclass(frozen=True, slots=True)
class Flag:
    """The label of a deploy: where it stands, in percent of the width, and whether it is written `before` its line."""

    x: float
    label: str
    before: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart: its lines, the words at its axes, its table (newest first), and `json` for scripts.

    A row of the table has time, values, and the labels of the deploys from then on. `verticals` are the lines of the
    deploys; `flags`, the newest first, the labels for which there is room.
    """

    lines: tuple[Line, ...]
    heights: tuple[str, ...]
    times: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...], str], ...]
    deploys: int
    verticals: str
    flags: tuple[Flag, ...]
    points: int
    summary: str
    json: str


def write_value(unit: str) -> Callable[[float | None], str]:
    """How values of a unit, `count`, `seconds` or `bytes`, are written; a gap is a dash."""
    writer = {"count": _count, "seconds": _seconds, "bytes": _bytes}[unit]
    return lambda value: "–" if value is None else writer(value)


def plot(data: Mapping[str, Any], deploys: Sequence[Mapping[str, Any]] = ()) -> Plot:
    """Lay out `data`: `x` in epoch seconds (rising), `series` of `label`, `state` and `values`, `unit`, `unfinished`.

    With `log` heights go by powers of ten. Of more than 500 points the newest are taken. `deploys` have `at` and
    `label`, the newest first; those before the first point are left out. Raises `KeyError` for a state or unit that
    is not known.
    """
    moments = [float(at) for at in data["x"]][-MOST_POINTS:]
    series = [(printable(each["label"]), each["state"], _clean(each["values"])) for each in data["series"]]
    write, unfinished = write_value(data["unit"]), bool(data.get("unfinished"))
    known_values = [value for _, _, values in series for value in values if value is not None]
    scale = (_log_scale if data.get("log") else _even_scale)(ceiling(known_values, data["unit"]))
    across, seen, lines = _across(moments), Counter[str](), list[Line]()
    for label, state, values in series:
        places = [None if v is None else (x, scale.height(v)) for x, v in zip(across, values, strict=True)]
        lines.append(_line(label, state, seen[state], places, unfinished, write(_latest(values, unfinished))))
        seen[state] += 1
    span = moments[-1] - moments[0] if moments else 0.0
    marks = _marks(deploys, moments)
    named = _named(marks, moments)
    newest = range(len(moments) - 1, max(len(moments) - MOST_ROWS, 0) - 1, -1)
    rows = [
        (_at(moments[i], span), tuple(write(values[i]) for _, _, values in series), named.get(i, "")) for i in newest
    ]
    known = {**data, "x": moments, "series": [{"label": la, "state": st, "values": va} for la, st, va in series]}
    if marks:
        known["deploys"] = [[at, _short(label, MOST_TOLD)] for at, label in marks]
    across_marks = [WIDTH * (at - moments[0]) / span for at, _ in marks]
    return Plot(
        lines=tuple(lines),
        heights=tuple(write(scale.value(share)) for share in (1.0, 0.5, 0.0)),
        times=tuple(_at(moments[i], span) for i in sorted({0, len(moments) // 2, len(moments) - 1})) if moments else (),
        rows=tuple(rows),
        points=len(moments),
        deploys=len(marks),
        verticals="".join(f"M{x:.0f} 0V{HEIGHT}" for x in across_marks),
        flags=_flags([(x / WIDTH * 100, label) for x, (_, label) in zip(across_marks, marks, strict=True)]),
        summary="; ".join(f"{line.label}: {line.last}" for line in lines),
        json=json.dumps(known, separators=(",", ":")),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """How far from the top of the drawing a value stands, and which value stands at a share of its height."""

    height: Callable[[float], float]
    value: Callable[[float], float]


def _even_scale(top: float) -> _Scale:
    return _Scale(lambda value: HEIGHT * (1 - value / top), lambda share: share * top)


def _log_scale(top: float) -> _Scale:
    """From `LOWEST` up, below which nothing is told apart."""
    whole = math.log(max(top, 10 * LOWEST) / LOWEST)
    return _Scale(
        lambda value: HEIGHT * (1 - math.log(max(value, LOWEST) / LOWEST) / whole),
        lambda share: LOWEST * math.exp(whole * share),
    )


def _marks(deploys: Sequence[Mapping[str, Any]], moments: Sequence[float]) -> list[tuple[float, str]]:
    """The deploys from the first point on; those of the last stretch stand at its beginning, where the lines end."""
    if len(moments) < 2 or moments[-1] <= moments[0]:
        return []
    return [(min(each["at"], moments[-1]), printable(each["label"])) for each in deploys if each["at"] >= moments[0]]


def _named(marks: Sequence[tuple[float, str]], moments: Sequence[float]) -> dict[int, str]:
    """The labels of the deploys from each point until the next one, the earliest first."""
    found: dict[int, list[str]] = {}
    for at, label in reversed(marks):
        found.setdefault(bisect_right(moments, at) - 1, []).append(_short(label, MOST_TOLD))
    return {place: "; ".join(labels) for place, labels in found.items()}


def _flags(places: Sequence[tuple[float, str]]) -> tuple[Flag, ...]:
    """The labels that have room beside each other, the first ones before the others."""
    found: list[Flag] = []
    taken: list[tuple[float, float]] = []
    for x, label in places:
        text = _short(label, MOST_FLAG)
        width = _PERCENT_OF_A_LETTER * (len(text) + 1)
        before = x > 50
        left, right = (x - width, x) if before else (x, x + width)
        if all(right <= start or left >= end for start, end in taken):
            taken.append((left, right))
            found.append(Flag(round(x, 1), text, before))
    return tuple(found)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def spark(values: Sequence[float | None]) -> tuple[str, ...]:
    """The runs of a small line, 100 units wide and 24 high; the lowest value that it knows of is 0."""
    known = _clean(values)
    width, height = _SPARK
    top = max([value for value in known if value is not None] + [0.0]) or 1.0
    step = width / max(len(known) - 1, 1)
    places = [None if v is None else (i * step, 1 + (height - 2) * (1 - v / top)) for i, v in enumerate(known)]
    return tuple(_points(run) for run in _runs(places))


def steps(values: Sequence[float]) -> str:
    """A path of steps, 20 units wide and 10 high, for a row that has little room; the lowest value it knows is 0.

    It shows the greatest of several values that fall together, and says nothing twice.
    """
    known = [value or 0.0 for value in _clean(values)]
    if not known:
        return ""
    top = max(known) or 1.0
    count = min(len(known), _STEPS)
    parts = [known[i * len(known) // count : (i + 1) * len(known) // count] for i in range(count)]
    heights = [round(9 - 8 * max(part) / top) for part in parts]
    path, at, wide = f"M{_STEPS - count} {heights[0]}", heights[0], 0
    for height in heights:
        if height != at:
            path += f"h{wide}v{height - at}"
            at, wide = height, 0
        wide += 1
    return f"{path}h{wide}"


def ceiling(values: Sequence[float], unit: str = "count") -> float:
    """The value at the top: the next of 1, 2, 5, 10, … (of 1,024 times those for bytes) from the greatest up."""
    most = max([*values, 0.0])
    if most <= 0:
        return 1.0
    scale = 1024.0 ** max(int(math.log(most, 1024)), 0) if unit == "bytes" else 1.0
    power = 10.0 ** math.floor(math.log10(most / scale))
    found = next(step for step in (1, 2, 5, 10, 20) if step * power * scale >= most * (1 - 1e-12)) * power * scale
    return max(found, 2.0) if unit == "count" else found


def _clean(values: Sequence[float | None]) -> list[float | None]:
    """Values from 0 up; what is no such number is a gap."""
    newest = values[-MOST_POINTS:]
    return [None if value is None or not math.isfinite(value) else max(value, 0) for value in newest]


def _latest(values: Sequence[float | None], unfinished: bool) -> float | None:
    """The last value that is complete; of a single one there is none before it."""
    return next(iter(values[-2:] if unfinished else values[-1:]), None)


def _across(moments: Sequence[float]) -> list[float]:
    if len(moments) < 2 or moments[-1] <= moments[0]:
        return [WIDTH / 2] * len(moments)
    return [WIDTH * (at - moments[0]) / (moments[-1] - moments[0]) for at in moments]


Places = Sequence["tuple[float, float] | None"]


def _line(label: str, state: str, nth: int, places: Places, unfinished: bool, last: str) -> Line:
    dashed: list[tuple[float, float]] = []
    if unfinished and len(places) > 1 and places[-1] and places[-2]:
        dashed, places = [places[-2], places[-1]], places[:-1]
    runs = _runs(places)
    areas = tuple(f"{_points(run)} {run[-1][0]:.0f},{HEIGHT} {run[0][0]:.0f},{HEIGHT}" for run in runs)
    return Line(label, state, GLYPHS[state], nth, tuple(map(_points, runs)), areas, _points(dashed), last)


def _runs(places: Places) -> list[list[tuple[float, float]]]:
    """The points between gaps; a lone one becomes a short stroke, as a line of one point is not drawn."""
    runs: list[list[tuple[float, float]]] = [[]]
    for place in places:
        if place is None:
            runs.append([])
        else:
            runs[-1].append(place)
    found = [run for run in runs if run]
    return [run if len(run) > 1 else [run[0], (run[0][0] + 2, run[0][1])] for run in found]


def _points(run: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.0f},{y:.1f}" for x, y in run)


def _at(moment: float, span: float) -> str:
    try:
        at = datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError, OSError):
        return repr(moment)
    if span >= 3 * _DAY:
        return at.strftime("%Y-%m-%d")
    return at.strftime("%m-%d %H:%M" if span >= _DAY else "%H:%M:%S" if moment % 60 else "%H:%M")


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.3g}"


def _seconds(value: float) -> str:
    if 0 < value < 1:
        return f"{value * 1000:.3g} ms"
    for unit, length, below in (("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, 2 * _DAY)):
        if value < below:
            return f"{value / length:.3g} {unit}"
    return f"{value / _DAY:,.3g} d"


def _bytes(value: float) -> str:
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:,.4g} {unit}"
        value /= 1024
    return f"{value:,.4g} GB"
