"""Measures jobd beside its peers, and writes the page of figures.

    python -m bench [--only drain --only push …] [--systems jobd,sidekiq,…] [--rounds N] [--seconds S] [--quick]

A whole run writes docs/performance.md; `--only`, `--systems` and `--quick` write it only with `--page`. With
`--results` of an earlier file, the measures of this run replace those of that file, and the page shows them all.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench import page, results, runner, systems
from bench.measures import MEASURES
from bench.server import Server
from bench.stage import Producers, Theatre
from bench.systems import System
from bench.venvs import ROOT, Unavailable

PAGE = ROOT / "docs" / "performance.md"
FULL, QUICK = (5, 3.0, 3), (2, 0.7, 1)
"""Rounds, seconds and repeats of disturbed samples."""


def options(words: Sequence[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(measure.name for measure in MEASURES)
    parser.add_argument("--only", action="append", default=[], help=f"a measure, or the first word of some: {names}")
    parser.add_argument("--systems", default=",".join(systems.MAKERS), help="default: %(default)s")
    parser.add_argument("--beside", action="append", default=[], type=Path, help="another checkout of jobd")
    parser.add_argument("--rounds", type=int, help=f"default: {FULL[0]}, quick {QUICK[0]}")
    parser.add_argument("--seconds", type=float, help=f"length of a sample; default: {FULL[1]}, quick {QUICK[1]}")
    parser.add_argument("--repeats", type=int, help=f"of a disturbed sample; default: {FULL[2]}, quick {QUICK[2]}")
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement")
    parser.add_argument("--results", type=Path, help="default: a new file in var/bench")
    parser.add_argument("--page", type=Path, help=f"the page to write; of a whole run {PAGE.relative_to(ROOT)}")
    found = parser.parse_args(words)
    defaults = QUICK if found.quick else FULL
    for name, value in zip(("rounds", "seconds", "repeats"), defaults, strict=True):
        if getattr(found, name) is None:
            setattr(found, name, value)
    if found.page is None and not (found.only or found.quick or found.systems != parser.get_default("systems")):
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


def machine() -> dict[str, str]:
    """Where this was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": f"{psutil.cpu_count()} × {models[0] if models else platform.machine()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": platform.platform(terse=True),
    }


def versions(server: Server, chosen: Sequence[System]) -> dict[str, str]:
    """What was measured."""
    found = {"server": server.version, "Python": platform.python_version()}
    if any(system.producer[0] == "ruby" for system in chosen):
        done = subprocess.run(["ruby", "--version"], capture_output=True, text=True, check=True)
        found["Ruby"] = done.stdout.split()[1]
    found |= {name: version(name) for name in ("redis", "hiredis", "msgspec")}
    return found | {system.name.partition(",")[0]: system.version for system in chosen if system.name[:5] != "redis"}


def main(words: Sequence[str]) -> int:
    """Measure, and write the results after each measure."""
    given = options(words)
    measures = results.named(MEASURES, given.only)
    chosen, missing = available([name for name in given.systems.split(",") if name], given.beside)
    path = given.results or ROOT / "var" / "bench" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    content: dict[str, Any] = results.read(path)
    with Server() as server:
        content |= {
            "machine": machine(),
            "versions": {**content.get("versions", {}), **versions(server, chosen)},
            "left out": missing,
        }
        for measure in measures:
            theatre = Theatre(server, Producers(server), given.seconds, given.quick)
            runner.say(measure.name)
            rounds = min(given.rounds, measure.most_rounds)
            found = runner.run(measure.cases(theatre, chosen), rounds, given.repeats)
            when = {"when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "rounds": rounds}
            how = {"seconds": given.seconds, "quick": given.quick}
            content["measures"][measure.name] = results.as_json(measure, found, {**when, **how})
            results.write(path, content)
    if given.page is not None:
        given.page.write_text(page.page(content, MEASURES))
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
