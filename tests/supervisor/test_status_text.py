"""What `jobd ctl status` prints for people."""

from __future__ import annotations

from typing import Any

import pytest

from jobd.supervisor.status_text import describe, duration
from tests.supervisor.control_server import STATUS

CHILD = {
    "slot": 1,
    "pid": 4712,
    "state": "ready",
    "generation": 1,
    "uptime": 7299.0,
    "jobs": 120345,
    "memory": 81 * 1024**2,
    "pulse_ago": 0.52,
    "running": [{"jid": "b" * 24, "seconds": 12.3}, {"jid": "c" * 24, "seconds": 75.2}],
    "threads": 10,
}
BOOTING = {
    **CHILD,
    "slot": 12,
    "pid": 471300,
    "state": "starting",
    "generation": 2,
    "uptime": 0.3,
    "jobs": 0,
    "memory": None,
    "pulse_ago": None,
    "running": [],
}
END: dict[str, Any] = {"pid": 4700, "slot": 2, "reason": "crash", "cause": "killed by SIGKILL", "ago": 300, "jobs": []}


def test_one_line_says_what_jobd_does() -> None:
    assert describe(STATUS).splitlines() == [
        "jobd 1.0.0 [app], master 4711: 2 of 2 processes ready, 3 of 20 threads busy, up 2 h",
        "Redis answered 0.4 s ago",
    ]


def test_the_first_line_tells_of_a_state_and_of_a_restart() -> None:
    first = describe({**STATUS, "state": "quiet", "restarting": True, "generation": 3}).splitlines()[0]
    assert first.startswith("jobd 1.0.0 [app], master 4711, quiet, restarting (generation 3): 2 of 2")


def test_redis_that_never_answered_and_processes_to_be_recovered_are_told() -> None:
    second = describe({**STATUS, "redis_seen_ago": None, "orphans": 2}).splitlines()[1]
    assert second == "Redis has not answered yet; 2 dead processes are still to be recovered"


def test_each_child_has_an_aligned_line() -> None:
    assert describe({**STATUS, "children": [CHILD, BOOTING]}).splitlines()[2:] == [
        "  slot     pid     state  generation     busy    jobs  memory      pulse     up  longest job",
        f"     1    4712     ready           1  2 of 10  120345   81 MB  0.5 s ago    2 h  {'c' * 24} for 75 s",
        "    12  471300  starting           2  0 of 10       0       -          -  0.3 s  -",
    ]


def test_the_last_three_ends_are_told_with_the_jobs_that_were_hit() -> None:
    ends = [{**END, "ago": ago} for ago in (3600, 400, 30)]
    ends.append({**END, "ago": 7, "reason": "hang", "jobs": ["b" * 24, "c" * 24]})
    assert describe({**STATUS, "ends": ends}).splitlines()[2:] == [
        f"ended 7.0 s ago: slot 2, pid 4700, hang (killed by SIGKILL), with {'b' * 24} {'c' * 24}",
        "ended 30 s ago: slot 2, pid 4700, crash (killed by SIGKILL)",
        "ended 7 min ago: slot 2, pid 4700, crash (killed by SIGKILL)",
    ]


def test_nothing_that_a_terminal_obeys_is_printed() -> None:
    child = {**CHILD, "running": [{"jid": "\x1b[2J\u2028\udc80", "seconds": 1}]}
    text = describe({**STATUS, "tag": "a\nb", "children": [child], "ends": [{**END, "jobs": ["\x9b1m"]}]})
    assert all(line.isprintable() for line in text.split("\n"))
    assert "[a\\u000ab]" in text
    assert "\\u001b[2J\\u2028\\udc80 for 1.0 s" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text
