"""The forms of a log line, and what logging never does."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from jobd.worker import log
from jobd.worker.log import Formatter, LineHandler, LogFormat, Reports, Sparingly
from tests.worker.conftest import Events


def written(form: LogFormat, name: str = "job.done", **given: Any) -> str:
    """What one event looks like."""
    stream = io.StringIO()
    handler = LineHandler(stream)
    handler.setFormatter(Formatter(form))
    log.logger.handlers[:] = [handler]
    log.event(name, **given)
    return stream.getvalue()


def failure() -> ValueError:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        return error


def test_a_plain_line_has_time_process_level_name_and_values() -> None:
    time, pid, level, name, *values = written("plain", jid="abc", seconds=0.25).rstrip("\n").split(" ")
    assert (level, name, values) == ("INFO", "job.done", ["jid=abc", "seconds=0.25"])
    assert pid.isdigit()
    assert len(time) == len("2026-11-22T00:01:40.750Z")
    assert time.endswith("Z")


def test_a_json_line_has_the_same() -> None:
    fields = json.loads(written("json", level=log.WARNING, jid="é", seconds=0.25))
    assert list(fields) == ["ts", "pid", "level", "event", "jid", "seconds"]
    assert (fields["level"], fields["event"], fields["jid"], fields["seconds"]) == ("warning", "job.done", "é", 0.25)


def test_on_a_terminal_the_name_is_coloured() -> None:
    assert " \033[32mjob.done\033[0m jid=abc\n" in written("pretty", jid="abc")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("two\nlines\r", '"two\\nlines\\r"'),
        ("\x1b[2Jgone", '"\\u001b[2Jgone"'),
        ("a\x9bb\x7f\u2028é", '"a\\u009bb\\u007f\\u2028é"'),
        ("é", "é"),
        ("\udce9", "\\udce9"),
        (7, "7"),
    ],
)
def test_a_value_never_breaks_its_line(value: object, shown: str) -> None:
    line = written("plain", v=value)
    assert line.endswith(f" v={shown}\n")
    assert len(line.splitlines()) == 1


def test_values_that_are_none_are_left_out() -> None:
    assert written("plain", jid=None, job="a").endswith(" job.done job=a\n")


def test_a_traceback_follows_on_lines_of_its_own() -> None:
    first, second, *_, last = written("plain", exc_info=failure()).splitlines()
    assert first.endswith(" job.done")
    assert second == "Traceback (most recent call last):"
    assert last == "lines"


def test_in_json_the_traceback_stays_in_the_line() -> None:
    text = written("json", exc_info=failure())
    assert text.count("\n") == 1
    assert json.loads(text)["trace"].endswith("ValueError: two\nlines")


def test_half_a_character_does_not_lose_the_line() -> None:
    assert json.loads(written("json", error="file \udce9"))["error"] == b"file \\udce9".decode("unicode-escape")


def test_a_stream_that_knows_fewer_characters_still_gets_the_line() -> None:
    raw = io.BytesIO()
    handler = LineHandler(io.TextIOWrapper(raw, encoding="ascii"))
    handler.setFormatter(Formatter("plain"))
    log.logger.handlers[:] = [handler]
    log.event("job.failed", error="é")
    assert raw.getvalue().endswith(b" error=\\xe9\n")


@pytest.mark.parametrize("error", [OSError("no space left"), BrokenPipeError(), ValueError("closed")])
def test_a_stream_that_fails_does_not_stop_the_work(error: Exception) -> None:
    class Failing(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    log.install("plain", "info", Failing())
    log.event("job.done")


def test_each_event_is_one_write() -> None:
    writes: list[str] = []

    class Counting(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    log.install("plain", "info", Counting())
    log.event("job.failed", level=log.ERROR, exc_info=failure())
    assert len(writes) == 1


def test_levels_below_the_one_installed_are_not_written() -> None:
    stream = io.StringIO()
    log.install("plain", "warning", stream)
    log.event("job.done")
    log.event("job.failed", level=log.WARNING)
    assert [line.split(" ")[3] for line in stream.getvalue().splitlines()] == ["job.failed"]


def test_one_line_can_have_a_threshold_of_its_own(events: Events) -> None:
    log.logger.setLevel(logging.WARNING)
    log.event("quiet.job", level=log.INFO, threshold=logging.ERROR)
    log.event("loud.job", level=log.DEBUG, threshold=logging.DEBUG)
    log.event("plain.job", level=log.INFO)
    assert events.names == ["loud.job"]


def test_the_form_follows_the_stream_unless_it_is_given() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    cases: list[tuple[LogFormat | None, io.StringIO, str]] = [
        (None, Terminal(), "\033["),
        (None, io.StringIO(), " INFO "),
        ("json", Terminal(), '{"ts"'),
    ]
    for form, stream, mark in cases:
        log.install(form, "info", stream)
        log.event("job.done")
        assert mark in stream.getvalue()


def test_the_root_logger_is_never_touched() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    log.logger.propagate = True
    log.install("plain", "debug", io.StringIO())
    log.install("json", "info", io.StringIO())
    log.event("job.done")
    assert (root.handlers[:], root.level) == before
    assert len(log.logger.handlers) == 1
    assert not log.logger.propagate


def test_a_lasting_fault_is_logged_now_and_then() -> None:
    now = 0.0
    some = Sparingly(10.0, monotonic=lambda: now)
    assert [some.allows("a"), some.allows("b"), some.allows("a")] == [True, True, False]
    now = 9.9
    assert not some.allows("a")
    now = 10.0
    assert some.allows("a")
    assert not some.allows("a")


def test_texts_without_end_are_not_kept_without_end() -> None:
    some = Sparingly(10.0, monotonic=lambda: 0.0)
    assert all(some.allows(str(i)) for i in range(2_500))
    assert len(some._last) <= 1_000


def test_a_broken_key_is_reported_once_and_each_loss_of_a_job_each_time(events: Events) -> None:
    reports = Reports()
    for _ in range(3):
        reports.tell("queue:a: WRONGTYPE; ", dropped=2)
    reports.tell("")
    assert events.named("redis.damaged") == [{"note": "queue:a: WRONGTYPE"}]
    assert events.named("dead.trimmed") == [{"jobs": 2}] * 3
