"""Processes that need too much memory or have run enough jobs are replaced, and nobody notices."""

from __future__ import annotations

import select
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from jobd.supervisor import exits
from tests.supervisor.capacity import Load, Samples, moment
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

MEGABYTE = 1 << 20
FILES: dict[str, Any] = {"require": ["ledger_jobs", "turnover_jobs"], "pidfile": "jobd.pid"}
QUICKLY = {"jobd.supervisor.health.MEMORY_INTERVAL": 0.05, "jobd.supervisor.master.TICK": 0.05}


def start(start_jobd: StartJobd, constants: dict[str, float], **settings: Any) -> Jobd:
    """`jobd` that measures often."""
    quick = {"processes": 2, "concurrency": 2, "timeout": 1, "constants": {**QUICKLY, **constants}}
    return start_jobd(**{**FILES, **quick, **settings})


def memories(jobd: Jobd) -> list[int]:
    """What was measured of the living processes, in bytes."""
    return [child["memory"] or 0 for child in jobd.status()["children"]]


def wait_for_ends(jobd: Jobd, count: int) -> list[dict[str, Any]]:
    """The ends of so many processes."""
    jobd.wait_for("child.ended", count=count)
    return jobd.events("child.ended")


def anchor_each_process(jobd: Jobd) -> int:
    """Have one long job in each; returns how many jobs that took."""
    pushed = 0
    while len(jobd.lines("began")) < jobd.settings["processes"]:
        # Several at once, of which an idle process gets some while another one is busy.
        jobd.push_many("anchor", range(pushed, pushed + 4))
        pushed += 4
        jobd.wait_for_lines("tried", pushed)
    return pushed


def wait_until_due(jobd: Jobd, count: int) -> None:
    """Wait until so many processes were due; each look has the master take a turn."""
    wait_until(lambda: jobd.status() and jobd.count("child.due") >= count, "a process that is due")


class TestMemory:
    def test_a_process_that_leaks_is_replaced_at_no_cost(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, {}, max_memory="150MB")
        with Load(jobd) as load, Samples(jobd) as samples:
            wait_until(lambda: all(memories(jobd)), "the first readings")
            assert max(memories(jobd)) < 120 * MEGABYTE
            while jobd.count("child.due") < 2:
                leaked = len(jobd.lines("leaked"))
                jobd.push("leak", 10)
                jobd.wait_for_lines("leaked", leaked + 1)
            ends = wait_for_ends(jobd, 2)
            samples.end()
            load.finish()
        assert {(end["reason"], end["level"]) for end in ends} == {("recycle_memory", "info")}
        assert "max_memory" in ends[0]["cause"]
        assert samples.figures["accepting_min"] == 2
        assert samples.figures["living_max"] == 3
        assert [ended["reason"] for ended in jobd.status()["ends"]] == ["recycle_memory"] * 2
        assert jobd.events("child.replaced")[0]["why"] == "memory"
        assert jobd.stop() == exits.OK

    def test_a_limit_below_what_a_fresh_process_needs_is_told_once_and_replaces_nobody(
        self, start_jobd: StartJobd
    ) -> None:
        jobd = start(start_jobd, {}, max_memory="5MB", patch="small_cgroup")
        assert "10MB, and the cgroup allows 8MB" in jobd.wait_for("config.notice")["notice"]
        jobd.wait_for("child.hopeless", count=2)
        jobd.push("last", 0.5)  # ten readings long
        jobd.wait_for_lines("ended", 1)
        assert sorted(event["slot"] for event in jobd.events("child.hopeless")) == [1, 2]
        assert jobd.count("child.due") == 0
        jobd.workers[0].kill()  # nor is it told of the next process in that slot
        jobd.wait_for("process.ready", count=3)
        jobd.push("last", 0.4)
        jobd.wait_for_lines("ended", 2)
        assert jobd.count("child.hopeless") == 2
        assert jobd.count("child.due") == 0

    def test_a_limit_that_every_process_exceeds_with_its_first_job_leads_to_ever_longer_pauses(
        self, start_jobd: StartJobd
    ) -> None:
        jobd = start(
            start_jobd, {"jobd.supervisor.memory.FIRST_PAUSE": 0.3}, processes=1, concurrency=1, max_memory="150MB"
        )
        while jobd.count("child.replaced") < 3:
            count = jobd.count("child.replaced") + 1
            jobd.push("leak", 150)
            jobd.wait_for("child.replaced", count=count)
            jobd.wait_for("child.ended", count=count)  # or it might take the next job, too
        due = [moment(event) for event in jobd.events("child.due")]
        pauses = [after - before for before, after in pairwise(due)]
        for pause, least in zip(pauses, (0.3, 0.6), strict=True):
            assert least <= pause
        assert jobd.count("child.hopeless") == 0
        assert {end["reason"] for end in jobd.events("child.ended")} == {"recycle_memory"}

    def test_work_that_begins_with_the_process_is_not_taken_for_what_it_needs_itself(
        self, start_jobd: StartJobd
    ) -> None:
        jobd = start(start_jobd, {"jobd.supervisor.health.MEMORY_INTERVAL": 0.5}, processes=1, max_memory="150MB")
        for _ in range(2):
            jobd.push("leak", 150)
        jobd.wait_for("child.replaced")
        assert jobd.count("child.hopeless") == 0

    def test_what_a_process_shares_with_its_siblings_does_not_count_with_uss(
        self, start_jobd: StartJobd, tmp_path: Path
    ) -> None:
        (tmp_path / "warehouse.py").write_text("stock = bytearray(b'x') * (200 << 20)\n")
        jobd = start(
            start_jobd,
            {},
            require=["ledger_jobs", "turnover_jobs", "warehouse"],
            processes=1,
            preload=True,
            max_memory="150MB",
            memory_kind="uss",
        )
        wait_until(lambda: all(memories(jobd)), "the first reading")
        (worker,) = jobd.workers
        assert max(memories(jobd)) < 100 * MEGABYTE < 200 * MEGABYTE < worker.memory_info().rss
        assert jobd.count("child.hopeless") == 0
        jobd.push("leak", 160)
        assert wait_for_ends(jobd, 1)[0]["reason"] == "recycle_memory"
        assert jobd.stop() == exits.OK


class TestMaxJobs:
    def test_all_at_once_with_a_long_job_in_each_at_no_cost(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, {}, max_jobs=80, timeout=0.5)
        anchors = anchor_each_process(jobd)
        old = {worker.pid for worker in jobd.workers}
        with Samples(jobd) as samples:
            with Load(jobd, per_second=200) as load:  # more than one process can do
                wait_until(lambda: old <= {each["child"] for each in jobd.events("child.replaced")}, "both replaced")
                load.finish()
            assert old <= {child["pid"] for child in jobd.status()["children"]}
            jobd.release()
            jobd.wait_for_lines("ended", 2)
            wait_until(lambda: old.isdisjoint(worker.pid for worker in jobd.workers), "the end of the old processes")
        assert samples.figures["accepting_min"] == 2
        assert samples.figures["living_max"] <= 5
        assert {child["why"] for child in jobd.events("child.due")} == {"jobs"}
        ends = [end for end in jobd.events("child.ended") if end["child"] in old]
        assert {(end["reason"], end["level"]) for end in ends} == {("recycle_jobs", "info")}
        assert jobd.stop() == exits.OK
        assert sorted(jobd.lines("began")) == sorted(jobd.lines("ended"))
        assert jobd.statistics() == (load.pushed + anchors, 0)

    def test_while_old_ones_take_long_the_master_waits_without_work(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(**FILES, processes=1, concurrency=3, timeout=0.2, max_jobs=1)
        for count in (1, 2):
            jobd.push("hold", count)
            jobd.wait_for_lines("began", count)
            jobd.push("quick", count)
            wait_until_due(jobd, count)
            jobd.wait_for("child.replaced")
        jobd.push("last", 0.3)  # longer than `timeout`
        jobd.wait_for_lines("ended", 3)
        before = psutil.Process(jobd.pid).num_ctx_switches().voluntary
        select.select([], [], [], 0.5)
        assert psutil.Process(jobd.pid).num_ctx_switches().voluntary - before < 10
        assert jobd.count("child.replaced") == 1
        jobd.release()
        jobd.wait_for("child.replaced", count=2)
        assert jobd.stop() == exits.OK
