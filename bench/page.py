"""Writes docs/performance.md from a file of results; no figure on that page comes from anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.results import Found, Measure, found_in, ratios

HEAD = """# Performance

This page is written by `make bench`, which measures jobd beside other systems and beside floors: on one machine, on one
Redis, in one run, in turn (A B C, A B C). Compare figures of one table only. A figure is the median of all
rounds, with the lowest and the highest in brackets; comparisons are made within each round.

A sample during which other programs had more than a tenth of the machine is taken again. Where no quiet moment was
found, the row says how many of its samples were `disturbed`.
"""


def page(results: Mapping[str, Any], measures: Sequence[Measure]) -> str:
    """The whole page."""
    known = [measure for measure in measures if measure.name in results["measures"]]
    sections = [section(measure, results["measures"][measure.name]) for measure in known]
    return "\n".join([HEAD, conditions(results), *sections])


def conditions(results: Mapping[str, Any]) -> str:
    """Machine and versions."""
    lines = ["## Conditions", "", "| what | value |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in {**results["machine"], **results["versions"]}.items()]
    lines += [f"| {name}: left out | {reason} |" for name, reason in results.get("left out", {}).items()]
    return "\n".join(lines) + "\n"


def section(measure: Measure, content: Mapping[str, Any]) -> str:
    """One table."""
    found = found_in(content)
    comparing = bool(measure.base and measure.base in found and len(found) > 1)
    heads = [measure.rows, *measure.figures, *([measure.compare] if comparing else [])]
    lines = [f"## {measure.title}", "", *wrapped(measure.text), ""]
    lines += [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    lines += [row(measure, label, found, comparing) for label in found]
    rounds = "1 round" if content["rounds"] == 1 else f"{content['rounds']} rounds"
    lines += ["", f"{'Quick run: ' if content['quick'] else ''}{rounds}, {content['when']}.", ""]
    return "\n".join(lines)


def row(measure: Measure, label: str, found: Mapping[str, Found], comparing: bool) -> str:
    """One case."""
    each = found[label]
    if not each.samples:
        return f"| {label} | failed: {each.failure.splitlines()[0]} |" + " |" * (len(measure.figures) - 1 + comparing)
    cells = [label + (f", {each.disturbed} of {len(each.samples)} disturbed" if each.disturbed else "")]
    cells += [spread(each.summary(figure)) for figure in measure.figures]
    if comparing:
        cells.append("" if label == measure.base else _comparison(measure, each, found[measure.base]))
    return f"| {' | '.join(cells)} |"


def _comparison(measure: Measure, each: Found, base: Found) -> str:
    if measure.base == "jobd":
        return spread(ratios(base, each, measure.figures[0]))
    return spread(ratios(each, base, measure.figures[0]))


def spread(values: tuple[float, float, float] | None) -> str:
    """`median [least … most]`; a dash for what there is not."""
    if values is None:
        return "–"
    least, median, most = map(number, values)
    return median if least == most else f"{median} [{least} … {most}]"


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 1_000:
        return f"{round(value, -len(str(int(value))) + 3):,.0f}"
    return f"{value:.3g}"


def wrapped(text: str, width: int = 120) -> list[str]:
    """Text in lines."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
