"""The benchmark measures, throws away what was disturbed, and writes a page of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench import load, page, results, runner, venvs
from bench.measures import MEASURES
from bench.processes import Processes
from bench.results import Figures, Found, Measure, as_json
from bench.runner import Repeats
from bench.sizing import Sized, round_number
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
DRAIN = next(measure for measure in MEASURES if measure.name == "drain-1")


def bench(*words: str) -> str:
    """Run the command; what it says while it measures."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_tiny_run_replaces_one_table_of_earlier_results_and_writes_the_page_of_all(tmp_path: Path) -> None:
    path, written = tmp_path / "r.json", tmp_path / "page.md"
    table = {"when": "a day", "rounds": 1, "seconds": 3.0, "quick": False, "jobd": "0.9", "cases": {}}
    earlier = {"versions": {"Huey": "3.0"}, "left out": {"sidekiq": "no Ruby"}, "measures": {"drain-1": table}}
    path.write_text(json.dumps({**earlier, "machine": {}, "measures": {"drain-1": table, "drain-2": table}}))
    words = ["--only", "drain-2", "--systems", "jobd", "--rounds", "1", "--seconds", "0.001", "--repeats", "0"]
    said = bench(*words, "--results", str(path), "--page", str(written))
    assert "drain-2 (1 of 1), about 0.0 minutes left" in said
    content = json.loads(path.read_text())
    assert content["measures"]["drain-1"] == table
    case = content["measures"]["drain-2"]["cases"]["jobd"]
    assert not case["failure"]
    assert [sample["jobs/s"] > 0 for sample in case["samples"]] == [True]
    assert content["versions"]["Huey"] == "3.0"
    assert content["left out"] == {"sidekiq": "no Ruby"}
    text = written.read_text()
    assert "a day, jobd 0.9; 1 round, samples of about 3 s." in text
    assert f"jobd {content['versions']['jobd']}; 1 round, samples of about 0.001 s." in text


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

    runner.run({label: partial(take, label) for label in "ABC"}, rounds=2, repeats=Repeats(0))
    assert taken == ["A", "B", "C", "A", "B", "C"]


def test_a_disturbed_sample_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "pause", lambda taken: 0.0)
    samples = iter([{"jobs/s": 1.0, "others": 0.5}, {"jobs/s": 2.0, "others": 0.05}])
    found = runner.run({"A": lambda: next(samples)}, rounds=1, repeats=Repeats(3))["A"]
    assert found.samples == [{"jobs/s": 2.0, "others": 0.05}]
    assert (found.repeated, found.disturbed) == (1, 0)


def test_without_a_quiet_moment_the_least_disturbed_sample_stays_and_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "pause", lambda taken: 0.0)
    samples = iter([{"jobs/s": 1.0, "others": 0.5}, {"jobs/s": 2.0, "others": 0.3}])
    found = runner.run({"A": lambda: next(samples)}, rounds=1, repeats=Repeats(1))["A"]
    assert found.samples == [{"jobs/s": 2.0, "others": 0.3}]
    row = page.row(DRAIN, "A", {"A": found}, 1, comparing=False)
    assert row.startswith("| A, 1 of 1 disturbed | 2 |")


def test_repeats_end_when_the_time_for_them_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "pause", lambda taken: 5.0)
    found = runner.run({"A": lambda: {"jobs/s": 1.0, "others": 0.5}}, rounds=2, repeats=Repeats(3, seconds=8.0))["A"]
    assert (len(found.samples), found.repeated, found.disturbed) == (2, 2, 2)


def test_a_system_that_fails_leaves_the_others_their_figures() -> None:
    def fail() -> Figures:
        raise RuntimeError("no such queue\nand more")

    found = runner.run({"A": fail, "B": lambda: {"jobs/s": 1.0}}, rounds=2, repeats=Repeats(0))
    assert len(found["B"].samples) == 2
    assert page.row(DRAIN, "A", found, 2, comparing=False) == "| A, failed: RuntimeError: no such queue | – | – | – |"


def test_a_system_that_fails_later_keeps_its_figures_and_says_so() -> None:
    found = {"A": Found([{"jobs/s": 7.0}], failure="RuntimeError: no more")}
    row = page.row(DRAIN, "A", found, 3, comparing=False)
    assert row == "| A, 1 round, failed: RuntimeError: no more | 7 | – | – |"


def test_a_case_that_takes_long_is_taken_once() -> None:
    found = runner.run({"A": lambda: {"jobs/s": 1.0}}, rounds=3, repeats=Repeats(0), once_from=0.0)
    assert len(found["A"].samples) == 1


def test_comparisons_are_made_within_each_round() -> None:
    jobd = Found([{"jobs/s": 100.0}, {"jobs/s": 20.0}, {"jobs/s": 60.0}])
    other = Found([{"jobs/s": 10.0}, {"jobs/s": 1.0}, {"jobs/s": 10.0}])
    row = page.row(DRAIN, "other", {"jobd": jobd, "other": other}, 3, comparing=True)
    assert row == "| other | 10 [1 … 10] | – | – | 10 [6 … 20] |"


def test_systems_that_log_are_compared_with_jobd_doing_so_too() -> None:
    rates = {"jobd": 90.0, "jobd, logging each job": 50.0, "other, logging each job": 10.0}
    found = {label: Found([{"jobs/s": rate}]) for label, rate in rates.items()}
    assert page.row(DRAIN, "other, logging each job", found, 1, comparing=True).endswith("| 5 |")
    assert page.row(DRAIN, "jobd, logging each job", found, 1, comparing=True).endswith("|  |")


def test_what_is_wanted_stands_above_and_what_is_more_stands_out() -> None:
    measure = replace(DRAIN, wanted={"jobs/s": 5.0})
    found = {label: Found([{"jobs/s": rate}]) for label, rate in (("A", 5.0), ("B", 7.0), ("Sidekiq /", 9.0))}
    cells = [page.row(measure, label, found, 1, comparing=False).split(" | ")[1] for label in found]
    assert cells == ["5", "**7**", "9"]
    content = {**as_json(measure, found, {"when": "now", "rounds": 1, "seconds": 1, "quick": False}), "jobd": "1"}
    text = page.section(measure, content)
    assert "| jobs/s (≤ 5) |" in text
    assert page.WANTED[:30] in text
    assert page.WANTED[:30] not in page.section(DRAIN, content)


def test_tables_that_were_not_measured_are_named() -> None:
    content: dict[str, Any] = {"machine": {}, "versions": {}, "left out": {}, "measures": {}}
    text = page.page(content, MEASURES)
    assert text.count("--only") == len(MEASURES)
    assert '- Empty jobs, one process: `make bench ARGS="--only drain-1"`' in text


def test_a_sample_has_as_many_jobs_as_last_long_enough() -> None:
    sizes: list[int] = []

    def take(jobs: int) -> Figures:
        sizes.append(jobs)
        return {"jobs/s": 300_000.0}

    sized = Sized(take, seconds=2.0)
    assert sized() == sized() == {"jobs/s": 300_000.0}
    assert sizes == [1_000, 50_000, 500_000, 500_000]


@pytest.mark.parametrize(
    ("value", "found"), [(0.1, 1), (1.3, 1), (1.5, 2), (3_000, 2_000), (3_500, 5_000), (8e5, 10**6)]
)
def test_sizes_are_round_numbers(value: float, found: int) -> None:
    assert round_number(value) == found


def test_cpu_time_of_threads_and_processes_that_ended_is_not_forgotten(tmp_path: Path) -> None:
    code = """
import os, pathlib, threading, time

def burn():
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass

thread = threading.Thread(target=burn)
thread.start()
thread.join()
child = os.fork()
if child:
    pathlib.Path("thread").touch()
    os.waitpid(child, 0)
    pathlib.Path("child").touch()
else:
    burn()
while not child and not pathlib.Path("end").exists():
    time.sleep(0.01)
time.sleep(60 if child else 0)
"""
    processes = Processes([[sys.executable, "-S", "-c", code]], tmp_path, {})
    try:
        wait_until((tmp_path / "thread").exists, "the thread ended")
        assert processes.cpu() > 0.05
        wait_until(lambda: processes.cpu() > 0.1, "the child worked")
        before = processes.cpu()
        (tmp_path / "end").touch()
        wait_until((tmp_path / "child").exists, "the child ended")
        assert processes.cpu() >= before
    finally:
        processes.kill()


def test_a_program_that_ended_is_started_again_and_one_that_runs_is_not(tmp_path: Path) -> None:
    started = tmp_path / "started"
    processes = Processes([["sleep", "60"], ["sh", "-c", "echo >> started"]], tmp_path, {"PATH": "/usr/bin:/bin"})
    try:
        sleeping = processes.family()[0]

        def twice() -> bool:
            processes.revive()
            return started.exists() and started.stat().st_size >= 2

        wait_until(twice, "it started again")
        assert processes.family()[0] == sleeping
    finally:
        processes.kill()


def test_an_environment_of_a_peer_is_made_once_and_anew_in_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def run(*command: str) -> str:
        made.append(command[0])
        (venvs.FOLDER / "peer").mkdir(parents=True, exist_ok=True)
        return ""

    monkeypatch.setattr(venvs, "_run", run)
    monkeypatch.setattr(venvs, "FOLDER", tmp_path / "here")
    assert venvs.environment("peer[redis]") == venvs.environment("peer[redis]") == tmp_path / "here" / "peer" / "bin"
    assert len(made) == 2
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    monkeypatch.setattr(venvs, "FOLDER", tmp_path / "there")
    venvs.environment("peer[redis]")
    assert len(made) == 4


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
