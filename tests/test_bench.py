"""The benchmark measures, throws away what was disturbed, and writes a page of it."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from bench import load, page, results, runner
from bench.measures import MEASURES
from bench.results import Figures, Found, Measure

ROOT = Path(__file__).parents[1]
DRAIN = next(measure for measure in MEASURES if measure.name == "drain-1")


def test_a_tiny_run_finds_figures_and_writes_a_page(tmp_path: Path) -> None:
    words = ["--only", "drain-2", "--systems", "jobd", "--rounds", "1", "--seconds", "0.01", "--repeats", "0"]
    files = ["--results", str(tmp_path / "r.json"), "--page", str(tmp_path / "page.md")]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    case = json.loads((tmp_path / "r.json").read_text())["measures"]["drain-2"]["cases"]["jobd"]
    assert not case["failure"]
    assert [sample["jobs/s"] > 0 for sample in case["samples"]] == [True]
    assert "## Empty jobs, two processes" in (tmp_path / "page.md").read_text()


def test_a_measure_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SystemExit, match="--only drian: there is no such measure"):
        results.named(MEASURES, ["drian"])


def test_one_word_names_all_measures_that_begin_with_it() -> None:
    assert [measure.name for measure in results.named(MEASURES, ["drain"])] == ["drain-1", "drain-2"]


def test_rounds_take_the_cases_in_turn() -> None:
    taken: list[str] = []

    def take(label: str) -> Figures:
        taken.append(label)
        return {"jobs/s": 1.0}

    runner.run({label: partial(take, label) for label in "ABC"}, rounds=2, repeats=0)
    assert taken == ["A", "B", "C", "A", "B", "C"]


def test_a_disturbed_sample_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "pause", lambda taken: None)
    samples = iter([{"jobs/s": 1.0, "others": 0.5}, {"jobs/s": 2.0, "others": 0.05}])
    found = runner.run({"A": lambda: next(samples)}, rounds=1, repeats=3)["A"]
    assert found.samples == [{"jobs/s": 2.0, "others": 0.05}]
    assert (found.repeated, found.disturbed) == (1, 0)


def test_without_a_quiet_moment_the_least_disturbed_sample_stays_and_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "pause", lambda taken: None)
    samples = iter([{"jobs/s": 1.0, "others": 0.5}, {"jobs/s": 2.0, "others": 0.3}])
    found = runner.run({"A": lambda: next(samples)}, rounds=1, repeats=1)["A"]
    assert found.samples == [{"jobs/s": 2.0, "others": 0.3}]
    row = page.row(DRAIN, "A", {"A": found}, comparing=False)
    assert row.startswith("| A, 1 of 1 disturbed | 2 |")


def test_a_system_that_fails_leaves_the_others_their_figures() -> None:
    def fail() -> Figures:
        raise RuntimeError("no such queue\nand more")

    found = runner.run({"A": fail, "B": lambda: {"jobs/s": 1.0}}, rounds=2, repeats=0)
    assert len(found["B"].samples) == 2
    assert "RuntimeError: no such queue |" in page.row(DRAIN, "A", found, comparing=False)


def test_comparisons_are_made_within_each_round() -> None:
    jobd = Found([{"jobs/s": 100.0}, {"jobs/s": 20.0}, {"jobs/s": 60.0}])
    other = Found([{"jobs/s": 10.0}, {"jobs/s": 1.0}, {"jobs/s": 10.0}])
    row = page.row(DRAIN, "other", {"jobd": jobd, "other": other}, comparing=True)
    assert row == "| other | 10 [1 … 10] | – | – | 10 [6 … 20] |"


def test_results_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    measure = Measure("m", "A measure", "Text.", lambda theatre, systems: {}, ("jobs/s",))
    found = {"A": Found([{"jobs/s": 1.0}, {"jobs/s": 3.0}], repeated=2), "B": Found(failure="RuntimeError: no")}
    content = {"measures": {"m": results.as_json(measure, found, {"rounds": 2})}}
    results.write(tmp_path / "r.json", content)
    back = results.read(tmp_path / "r.json")["measures"]["m"]
    assert results.found_in(back) == found
    assert back["cases"]["A"]["min, median, max"] == {"jobs/s": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(("value", "text"), [(441_234.0, "441,000"), (1_055.5, "1,060"), (12.345, "12.3"), (0.0, "0")])
def test_figures_keep_three_digits(value: float, text: str) -> None:
    assert page.number(value) == text


def test_what_was_used_and_not_by_us_was_used_by_others() -> None:
    assert load.share_of_others(used=3.0, used_by_us=2.5, seconds=2.0, cores=2) == pytest.approx(0.5 / 4)
    assert load.share_of_others(used=2.4, used_by_us=2.5, seconds=2.0, cores=2) == 0.0
