"""Whom a crash is held against, and what is written about it."""

from __future__ import annotations

import pytest

from jobd.client.payload import decode, decode_backtrace, encode
from jobd.client.scripts import join_value, split_value
from jobd.worker.crash import Accused, Charge, Crash, Orphan, accuse, as_noted, judge

CRASH = Crash("killed by SIGKILL", ("a", "b", "c"), None, "")
LONG = "ü" * 40


def accused_by(charge: Charge, *payloads: bytes) -> list[str]:
    record = {f"{i}.1": split_value(join_value("q", payload)) for i, payload in enumerate(payloads, 1)}
    return [accused.jid for accused in accuse(record, charge)]


@pytest.mark.parametrize(
    "orphan",
    [
        Orphan("h:1:n", "it ended"),
        Orphan("h:1:n/slow", "hung", Crash("hung for 45 s", ("a", "\u00fc"), 7, "Thread 1\n  File x")),
        Orphan("h:1:n", "x", Crash("exit code 5", (), None, "")),
    ],
)
def test_an_orphan_travels_as_one_line(orphan: Orphan) -> None:
    assert "\n" not in orphan.as_json()
    assert Orphan.from_json(orphan.as_json()) == orphan
    assert Orphan.from_json(orphan.as_json().encode()) == orphan


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"owner":"a","why":"b","crash":{}}'])
def test_what_is_no_orphan_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        Orphan.from_json(text)


def test_the_newest_field_comes_first_by_number() -> None:
    payloads = [encode({"jid": str(i)}) for i in range(1, 12)]
    assert accused_by(Charge(CRASH, 3, host=True), *payloads) == [str(i) for i in range(11, 0, -1)]


def test_a_jid_too_long_for_a_threads_place_is_known_by_its_beginning() -> None:
    assert len(as_noted(LONG).encode()) == 64
    charge = Charge(Crash("", (as_noted(LONG),), None, ""), 3)
    assert accused_by(charge, encode({"jid": LONG}), encode({"jid": "a"})) == [LONG]


def test_a_job_without_a_jid_is_never_accused() -> None:
    jobs = [b"", b"no json", b"[]", b"{}", encode({"jid": ""}), encode({"jid": None})]
    assert accused_by(Charge(Crash("", ("", "None"), None, ""), 3), *jobs) == []
    assert accused_by(Charge(CRASH, 3, host=True), *jobs) == []


def test_a_jid_that_is_a_number_is_known_by_its_text() -> None:
    assert accused_by(Charge(Crash("", ("7",), None, ""), 3), b'{"jid":7}') == ["7"]


def accused(**fields: object) -> Accused:
    return Accused("1.1", "q", "a", {"class": "c", "args": [], "jid": "a", **fields})


@pytest.mark.parametrize(("before", "dies"), [(0, False), (1, False), (2, True), (7, True)])
def test_the_crash_that_reaches_the_limit_is_the_death(before: int, dies: bool) -> None:
    made = judge(accused(), Charge(CRASH, 3), before=before, host="", now=100.0)
    assert (made.crashes, bool(made.blame.dead)) == (before + 1, dies)


@pytest.mark.parametrize("options", [{"retry": False}, {"dead": False}, {"retry": 5}])
def test_a_job_dies_of_crashes_whatever_its_options_say(options: dict[str, object]) -> None:
    made = judge(accused(**options), Charge(CRASH, 1), before=0, host="", now=100.0)
    entry = decode(made.blame.dead)
    assert {name: entry[name] for name in options} == options


def test_an_entry_counts_on_from_earlier_failures() -> None:
    earlier = {"retry_count": 4, "failed_at": 7.5, "error_class": "ValueError", "retry_queue": "slow"}
    entry = decode(judge(accused(**earlier), Charge(CRASH, 1), before=0, host="", now=100.0).blame.dead)
    assert (entry["retry_count"], entry["failed_at"], entry["retried_at"]) == (5, 7.5, 100.0)
    assert (entry["error_class"], entry["queue"]) == ("jobd.Crashed", "slow")
    assert "error_backtrace" not in entry


def test_an_entry_says_that_others_ran_beside_it() -> None:
    def text(*jids: str) -> str:
        return judge(accused(), Charge(Crash("hung", jids, None, ""), 3), before=1, host="", now=1.0).error

    assert text("a") == "its process crashed 2 times while it ran; the last time: hung"
    assert text("a", "b").endswith("hung, beside another job")
    assert text("a", "b", "c").endswith("hung, beside 2 other jobs")


def test_a_huge_dump_of_stacks_is_cut_to_what_readers_take() -> None:
    stacks = "\n".join(f"  File \u00fc.py, line {i} in f" for i in range(100_000))
    made = judge(accused(), Charge(Crash("x", ("a",), 1, stacks), 1), before=0, host="", now=1.0)
    lines = decode_backtrace(decode(made.blame.dead)["error_backtrace"])
    assert 1_000 < len(lines) < 100_000
    assert lines[:-1] == stacks.split("\n")[: len(lines) - 1]
