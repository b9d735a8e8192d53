"""What a run has found, as data: samples of every case of every measure, with the conditions; kept as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.load import DISTURBED
from bench.systems import LOGGING

Figures = dict[str, float]
"""One sample: the name of each figure, and its value. `others` is the share of the machine that others had."""
Cases = Mapping[str, Callable[[], Figures]]
"""What is measured in turn: the label of each row, and how one sample is taken."""


@dataclass(frozen=True)
class Measure:
    """One kind of measurement."""

    name: str
    title: str
    text: str
    """What the reader must know to understand the table."""
    cases: Callable[..., Cases]
    """Called with the theatre and the systems."""
    figures: tuple[str, ...]
    """The columns, in order."""
    base: str = ""
    """The row with which the others are compared by their first figure, round by round."""
    rows: str = "system"
    """The heading of the first column."""
    compare: str = ""
    """The heading of that comparison: how many times as much as `base` has the others have."""
    most_rounds: int = 100
    """For what takes long and varies little."""
    once_from: float = 100.0
    """Seconds of a sample from which its case is taken once only."""
    fixed: float = 2.0
    """Seconds that a sample takes apart from what is measured; as `lengths`, only to say when a run will be over."""
    lengths: float = 1.5
    """How many times the length of a sample it takes."""
    wanted: Mapping[str, float] = field(default_factory=dict)
    """Of a figure, what it is to be at most; the table says where it is more."""

    def seconds(self, samples: int, length: float) -> float:
        """About how long so many samples take."""
        return samples * (self.fixed + self.lengths * length)

    def base_of(self, label: str) -> str:
        """The row with which that of `label` is compared."""
        return self.base + LOGGING if self.base and label.endswith(LOGGING) else self.base


@dataclass
class Found:
    """The samples of one case."""

    samples: list[Figures] = field(default_factory=list)
    repeated: int = 0
    """Samples that were thrown away because others disturbed them."""
    failure: str = ""

    def summary(self, figure: str) -> tuple[float, float, float] | None:
        """Minimum, median and maximum."""
        values = [sample[figure] for sample in self.samples if figure in sample]
        return (min(values), statistics.median(values), max(values)) if values else None

    @property
    def disturbed(self) -> int:
        """How many samples were kept although they were disturbed."""
        return sum(sample.get("others", 0.0) > DISTURBED for sample in self.samples)


def ratios(found: Found, base: Found, figure: str) -> tuple[float, float, float] | None:
    """Minimum, median and maximum of a figure divided by that of `base` in the same round."""
    pairs = zip(found.samples, base.samples, strict=False)
    values = [own[figure] / other[figure] for own, other in pairs if other.get(figure) and figure in own]
    return (min(values), statistics.median(values), max(values)) if values else None


def as_json(measure: Measure, found: Mapping[str, Found], conditions: Mapping[str, Any]) -> dict[str, Any]:
    """One measure for the file."""
    cases = {
        label: {
            "samples": each.samples,
            "repeated": each.repeated,
            "failure": each.failure,
            "min, median, max": {figure: each.summary(figure) for figure in measure.figures},
        }
        for label, each in found.items()
    }
    return {**conditions, "cases": cases}


def found_in(measure: Mapping[str, Any]) -> dict[str, Found]:
    """The samples of one measure of a file."""
    return {
        label: Found(case["samples"], case["repeated"], case["failure"]) for label, case in measure["cases"].items()
    }


def read(path: Path) -> dict[str, Any]:
    """A file of results; one without measures if there is none."""
    if not path.exists():
        return {"measures": {}}
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file of results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1) + "\n")
    new.replace(path)


def named(measures: Sequence[Measure], names: Sequence[str]) -> list[Measure]:
    """Those whose name is given, or begins with a given one and a dash; all without names."""
    chosen = [m for m in measures if not names or any(m.name == n or m.name.startswith(f"{n}-") for n in names)]
    for name in names:
        if not any(m.name == name or m.name.startswith(f"{name}-") for m in measures):
            raise SystemExit(
                f"--only {name}: there is no such measure; there are {', '.join(m.name for m in measures)}"
            )
    return chosen
