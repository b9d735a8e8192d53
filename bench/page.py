"""Writes docs/performance.md from a file of results; no figure on that page comes from anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.results import Found, Measure, found_in, ratios

HEAD = """# Performance

This page is written by `make bench`, which measures jobd beside other systems and beside floors: on one machine, on one
Redis, in turn (A B C, A B C). Each system has its settings as they come, unless its row says otherwise, and its own
client has pushed what it works off. Compare figures of one table only: the same machine has half the speed in
another hour. A figure is the median of all rounds, with the lowest and the highest in brackets; comparisons are made
within each round.

A sample during which other programs, or other machines of the same host, had more than a tenth of the machine is taken
again. Where no quiet moment was found, the row says how many of its samples were `disturbed`.
"""

WANTED = "In the head of a column stands what is wanted of jobd; what is more than that is printed **bold**."


def page(results: Mapping[str, Any], measures: Sequence[Measure]) -> str:
    """The whole page."""
    known = [measure for measure in measures if measure.name in results["measures"]]
    sections = [section(measure, results["measures"][measure.name]) for measure in known]
    missing = [measure for measure in measures if measure not in known]
    return "\n".join([HEAD, conditions(results), *sections, *([not_measured(missing)] if missing else [])])


def conditions(results: Mapping[str, Any]) -> str:
    """Machine and versions."""
    lines = ["## Conditions", "", "| what | value |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in {**results["machine"], **results["versions"]}.items()]
    lines += [f"| {name}: left out | {one_line(reason)} |" for name, reason in results["left out"].items()]
    return "\n".join(lines) + "\n"


def not_measured(measures: Sequence[Measure]) -> str:
    """What has no table."""
    lines = [f'- {measure.title}: `make bench ARGS="--only {measure.name}"`' for measure in measures]
    return "\n".join(["## Not measured", "", *lines, ""])


def section(measure: Measure, content: Mapping[str, Any]) -> str:
    """One table."""
    found = found_in(content)
    comparing = measure.base in found and len(found) > 1
    figures = [
        f"{name} (≤ {number(measure.wanted[name])})" if name in measure.wanted else name for name in measure.figures
    ]
    heads = [measure.rows, *figures, *([measure.compare] if comparing else [])]
    text = f"{measure.text} {WANTED}" if measure.wanted else measure.text
    lines = [f"## {measure.title}", "", *wrapped(text), ""]
    lines += [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    lines += [row(measure, label, found, content["rounds"], comparing) for label in found]
    kind = "a quick look, no measurement: " if content["quick"] else ""
    how = f"{kind}{rounds(content['rounds'])}, samples of about {content['seconds']:g} s"
    lines += ["", *wrapped(f"{content['when']}, jobd {content['jobd']}; {how}."), ""]
    return "\n".join(lines)


def rounds(count: int) -> str:
    """In words."""
    return "1 round" if count == 1 else f"{count} rounds"


def row(measure: Measure, label: str, found: Mapping[str, Found], wanted: int, comparing: bool) -> str:
    """One case of a table with so many rounds."""
    each, base = found[label], measure.base_of(label)
    cells = [label + "".join(f", {remark}" for remark in remarks(each, wanted))]
    cells += [_cell(measure, label, figure, each) for figure in measure.figures]
    if comparing:
        cells.append("" if label == base or base not in found else _comparison(measure, each, found[base]))
    return f"| {' | '.join(cells)} |"


def _cell(measure: Measure, label: str, figure: str, each: Found) -> str:
    """One figure; one of jobd's that is more than is wanted stands out."""
    found, most = each.summary(figure), measure.wanted.get(figure)
    is_too_much = found is not None and most is not None and found[1] > most and not label.startswith("Sidekiq")
    return f"**{spread(found)}**" if is_too_much else spread(found)


def remarks(each: Found, wanted: int) -> list[str]:
    """What sets the samples of a case apart from others."""
    found = []
    if len(each.samples) < wanted and each.samples:
        found.append(rounds(len(each.samples)))
    if each.disturbed:
        found.append(f"{each.disturbed} of {len(each.samples)} disturbed")
    return [*found, f"failed: {one_line(each.failure)}"] if each.failure else found


def one_line(text: str) -> str:
    """The first line, fit for a table."""
    return text.partition("\n")[0].replace("|", "/")


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
