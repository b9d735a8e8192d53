"""Measures jobd beside its peers, and writes the page of figures.

    python -m bench [--only drain --only push …] [--systems jobd,sidekiq,…] [--rounds N] [--seconds S] [--quick]
    python -m bench --results var/bench/….json --only idle --page docs/performance.md
    python -m bench --results var/bench/….json --render --page docs/performance.md

A whole run writes docs/performance.md; `--only`, `--systems` and `--quick` write it only with `--page`. With
`--results` of an earlier file, the measures of this run replace those of that file, and the page shows them all.
Results are written after each measure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import conditions, page, results, runner, systems
from bench.measures import MEASURES
from bench.results import Cases, Measure
from bench.server import Server
from bench.stage import Producers, Theatre
from bench.systems import System
from bench.venvs import ROOT, Unavailable

PAGE = ROOT / "docs" / "performance.md"
FULL = {"rounds": 5, "seconds": 2.0, "repeats": 3, "systems": ",".join(systems.MAKERS)}
QUICK = {"rounds": 1, "seconds": 0.2, "repeats": 0, "systems": "jobd,jobd-log,floor,sidekiq,sidekiq-log,huey"}
"""What is not given. On two cores a whole run takes about an hour without repeats, a quick one 8."""

REPEATS_SECONDS = 600.0
"""For repeats of disturbed samples in one run: on a machine that is never quiet it must end too."""


def options(words: Sequence[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(measure.name for measure in MEASURES)
    parser.add_argument("--only", action="append", default=[], help=f"a measure, or the first word of some: {names}")
    parser.add_argument("--systems", help=f"default: {FULL['systems']}; quick {QUICK['systems']}")
    parser.add_argument("--beside", action="append", default=[], type=Path, help="another checkout of jobd")
    parser.add_argument("--rounds", type=int, help=f"default: {FULL['rounds']}, quick {QUICK['rounds']}")
    parser.add_argument(
        "--seconds", type=float, help=f"of a sample; default: {FULL['seconds']}, quick {QUICK['seconds']}"
    )
    parser.add_argument(
        "--repeats", type=int, help=f"if disturbed; default: {FULL['repeats']}, quick {QUICK['repeats']}"
    )
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement")
    parser.add_argument("--render", action="store_true", help="measure nothing: only write the page of --results")
    parser.add_argument("--results", type=Path, help="default: a new file in var/bench")
    parser.add_argument("--page", type=Path, help=f"the page to write; of a whole run {PAGE.relative_to(ROOT)}")
    found = parser.parse_args(words)
    if found.render and not (found.page and found.results and found.results.exists()):
        parser.error("--render needs --page, and --results of an earlier run")
    is_whole = not (found.only or found.quick or found.systems)
    for name, value in (QUICK if found.quick else FULL).items():
        if getattr(found, name) is None:
            setattr(found, name, value)
    if found.page is None and is_whole:
        found.page = PAGE
    return found


def available(names: Sequence[str], beside: Sequence[Path]) -> tuple[list[System], dict[str, str]]:
    """The systems that can run here, and why others cannot."""
    found, missing = [], {}
    for name in names:
        if name not in systems.MAKERS:
            raise SystemExit(f"--systems {name}: there is no such system; there are {', '.join(systems.MAKERS)}")
        try:
            found.append(systems.MAKERS[name]())
        except Unavailable as error:
            missing[name] = str(error)
            runner.say(f"{name} is left out: {error}")
    return found + [systems.jobd(root, name=f"jobd of {root.name}") for root in map(Path.resolve, beside)], missing


def main(words: Sequence[str]) -> int:
    """Measure, and write the results after each measure; 1 if a measure could not be begun or had no figures."""
    given = options(words)
    path = given.results or ROOT / "var" / "bench" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    content = results.read(path)
    complete = given.render or measure_all(given, path, content)
    if given.page is not None:
        given.page.write_text(page.page(content, MEASURES))
    print(path)
    return 0 if complete else 1


def measure_all(given: argparse.Namespace, path: Path, content: dict[str, Any]) -> bool:
    """Take every measure that was asked for into `content`, and write that; whether all of them gave figures."""
    asked = [name for name in given.systems.split(",") if name]
    measures, (chosen, missing) = results.named(MEASURES, given.only), available(asked, given.beside)
    complete, repeats = True, runner.Repeats(given.repeats, REPEATS_SECONDS)
    with Server() as server, ExitStack() as guests:
        content |= conditions.merged(content, server, chosen, asked, missing)
        theatre = Theatre(server, Producers(server), given.seconds, given.quick, guests)
        plans = [Plan(measure, cases, given) for measure in measures if (cases := measure.cases(theatre, chosen))]
        for number, plan in enumerate(plans):
            left = sum(each.estimate for each in plans[number:])
            runner.say(f"{plan.measure.name} ({number + 1} of {len(plans)}), about {left / 60:.1f} minutes left")
            if table := plan.carry_out(repeats):
                content["measures"][plan.measure.name] = {**table, "jobd": content["versions"].get("jobd", "–")}
                results.write(path, content)
            else:
                runner.say(f"  no figures; {path} keeps what it had")
                complete = False
            theatre.rest()
    return complete


@dataclass(frozen=True)
class Plan:
    """One measure of a run."""

    measure: Measure
    cases: Cases
    given: argparse.Namespace

    @property
    def rounds(self) -> int:
        """How often each case is taken."""
        rounds: int = self.given.rounds
        return min(rounds, self.measure.most_rounds)

    @property
    def estimate(self) -> float:
        """Seconds that it takes if nothing is disturbed."""
        return len(self.cases) * self.measure.seconds(self.rounds, self.given.seconds)

    def carry_out(self, repeats: runner.Repeats) -> dict[str, Any] | None:
        """The table as data; None if no case had a figure."""
        found = runner.run(self.cases, self.rounds, repeats, self.measure.once_from)
        if not any(each.samples for each in found.values()):
            return None
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        how = {"seconds": self.given.seconds, "quick": self.given.quick}
        return results.as_json(self.measure, found, {"when": when, "rounds": self.rounds, **how})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
