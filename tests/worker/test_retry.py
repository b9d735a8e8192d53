"""What becomes of a job that failed, or whose class is unknown: tables of cases, without Redis or a clock."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.client.payload import decode_backtrace, encode
from jobd.worker.outcome import Dead, Deferred, Discarded, RetryAt
from jobd.worker.retry import RetryPolicy, after_failure, error_class, retry_delay, unknown_class

NOW = 1795305700.75
JOB = {"retry": True, "queue": "default", "args": ["x"], "class": "FailJob", "jid": "ced7948a5a50a7b794b8b273"}
RETRIED = {"failed_at": NOW - 16, "error_message": "older", "error_class": "OSError"}


def fail(
    payload: dict[str, Any],
    error: BaseException | None = None,
    *,
    queue: str = "default",
    jitter: float = 0.0,
    **given: Any,
) -> RetryAt | Dead | Discarded:
    return after_failure(
        payload, error or ValueError("boom"), queue=queue, now=NOW, jitter=jitter, policy=RetryPolicy(**given)
    )


def kept(outcome: object) -> dict[str, Any]:
    assert isinstance(outcome, RetryAt | Dead)
    return outcome.payload


def raised(error: BaseException) -> BaseException:
    """The error with a traceback of two known functions."""

    def deep() -> None:
        raise error

    try:
        deep()
    except BaseException as caught:
        return caught
    raise AssertionError


def test_the_waits_of_25_retries_are_those_of_sidekiq() -> None:
    bases = [retry_delay(count, 0.0) for count in range(25)]
    assert bases[:5] == [15, 16, 31, 96, 271]
    assert bases[24] == 331791
    assert sum(bases) == 1_763_395


@pytest.mark.parametrize(
    ("count", "jitter", "delay"), [(0, 0.0, 15), (0, 0.99999, 24), (1, 0.99999, 35), (24, 0.99999, 332040)]
)
def test_jitter_adds_whole_seconds_below_ten_for_each_failure(count: int, jitter: float, delay: float) -> None:
    assert retry_delay(count, jitter) == delay


@given(st.integers(0, 200), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_its_bounds(count: int, jitter: float) -> None:
    added = retry_delay(count, jitter) - (count**4 + 15)
    assert added == int(added)
    assert 0 <= added <= 10 * (count + 1) - 1


def test_the_first_failure_of_the_capture() -> None:
    outcome = fail({**JOB, "created_at": 1.5, "enqueued_at": 2.5}, ValueError("boom é x"), jitter=0.15)
    assert isinstance(outcome, RetryAt)
    assert outcome.at == NOW + 16
    assert list(outcome.payload.items()) == [
        *JOB.items(),
        ("created_at", 1.5),
        ("enqueued_at", 2.5),
        ("error_message", "boom é x"),
        ("error_class", "ValueError"),
        ("failed_at", NOW),
        ("retry_count", 0),
    ]


def test_the_second_failure_of_the_capture() -> None:
    outcome = fail({**JOB, "retry_count": 0, **RETRIED}, ValueError("boom é x"))
    assert isinstance(outcome, RetryAt)
    assert outcome.at == NOW + 16
    assert outcome.payload == {
        **JOB,
        "error_message": "boom é x",
        "error_class": "ValueError",
        "failed_at": NOW - 16,
        "retry_count": 1,
        "retried_at": NOW,
    }


def test_the_death_of_the_capture() -> None:
    outcome = fail({**JOB, "retry": 1, "retry_count": 0, **RETRIED}, RuntimeError("always"))
    assert isinstance(outcome, Dead)
    assert outcome.payload == {
        **JOB,
        "retry": 1,
        "error_message": "always",
        "error_class": "RuntimeError",
        "failed_at": NOW - 16,
        "retry_count": 1,
        "retried_at": NOW,
    }


def test_without_retries_the_first_failure_is_the_death_of_the_capture() -> None:
    outcome = fail({**JOB, "retry": 0}, RuntimeError("zero"))
    assert isinstance(outcome, Dead)
    assert outcome.payload == {
        **JOB,
        "retry": 0,
        "error_message": "zero",
        "error_class": "RuntimeError",
        "failed_at": NOW,
        "retry_count": 0,
    }


@pytest.mark.parametrize(
    ("retry", "count", "kind"),
    [
        (True, 23, RetryAt),
        (True, 24, Dead),
        (3, 1, RetryAt),
        (3, 2, Dead),
        (3, 7, Dead),
        (0, None, Dead),
        (1, None, RetryAt),
        (-1, None, Dead),
        (100, 98, RetryAt),
        (False, None, Discarded),
        (False, 3, Discarded),
        (None, 23, RetryAt),
        (None, 24, Dead),
        ("yes", 23, RetryAt),
        ("yes", 24, Dead),
        ("", None, RetryAt),
        (2.0, 23, RetryAt),
        ([], 24, Dead),
    ],
)
def test_the_option_retry_decides_how_often(retry: object, count: int | None, kind: type) -> None:
    payload = {**JOB, "retry": retry} if count is None else {**JOB, "retry": retry, "retry_count": count}
    assert isinstance(fail(payload), kind)


def test_without_the_option_the_process_decides_how_often() -> None:
    payload = {"class": "A", "args": [], "retry_count": 1}
    assert isinstance(fail(payload, max_retries=3), RetryAt)
    assert isinstance(fail(payload, max_retries=2), Dead)
    assert isinstance(fail({"class": "A", "args": []}, max_retries=0), Dead)


@pytest.mark.parametrize(
    ("option", "first_failure", "kind"),
    [(3600, NOW - 3599, RetryAt), (3600, NOW - 3600, Dead), (0.5, NOW - 1, Dead), (3600, None, RetryAt)],
)
def test_retry_for_replaces_the_number_of_retries(option: float, first_failure: float | None, kind: type) -> None:
    first = {} if first_failure is None else {"failed_at": first_failure}
    for retry in (0, 1, True):
        payload = {**JOB, "retry": retry, "retry_for": option, "retry_count": 30, **first}
        assert isinstance(fail(payload), kind)


@pytest.mark.parametrize("failed_at", [int((NOW - 10) * 1000), NOW - 10, str(NOW - 10), "2026-11-22T00:01:30Z"])
def test_retry_for_understands_every_form_of_the_first_failure(failed_at: object) -> None:
    payload = {**JOB, "retry_count": 0, "failed_at": failed_at}
    assert isinstance(fail({**payload, "retry_for": 60}), RetryAt)
    assert isinstance(fail({**payload, "retry_for": 9}), Dead)


@pytest.mark.parametrize("option", [True, "60", None, [60]])
def test_a_strange_retry_for_counts_as_none(option: object) -> None:
    assert isinstance(fail({**JOB, "retry": 1, "retry_for": option, "retry_count": 0}), Dead)


def test_retries_go_to_the_retry_queue() -> None:
    assert kept(fail({**JOB, "retry_queue": "slow"}))["queue"] == "slow"


@pytest.mark.parametrize("strange", [None, "", 5, ["slow"]])
def test_without_a_usable_retry_queue_they_go_where_the_job_was_fetched(strange: object) -> None:
    assert kept(fail({**JOB, "retry_queue": strange}, queue="fetched"))["queue"] == "fetched"


def test_dead_false_drops_the_job_at_its_end_and_not_before() -> None:
    job = {**JOB, "retry": 1, "dead": False}
    assert isinstance(fail(job), RetryAt)
    end = fail({**job, "retry_count": 0})
    assert isinstance(end, Discarded)
    assert "dead=False" in end.reason


def test_retry_false_says_so() -> None:
    end = fail({**JOB, "retry": False})
    assert isinstance(end, Discarded)
    assert "retry=False" in end.reason


def test_a_retry_by_hand_costs_none() -> None:
    """The API takes one off: a job with 0 comes back with -1, and is retried, not failed for the first time."""
    payload = kept(fail({**JOB, "retry_count": -1, "failed_at": NOW - 99}))
    assert (payload["retry_count"], payload["failed_at"], payload["retried_at"]) == (0, NOW - 99, NOW)


def test_a_count_without_a_first_failure_gets_one() -> None:
    payload = kept(fail({**JOB, "retry_count": 3}))
    assert (payload["failed_at"], payload["retried_at"]) == (NOW, NOW)


@pytest.mark.parametrize("strange", ["3", None, 2.0, True, [1]])
def test_a_strange_count_is_a_first_failure(strange: object) -> None:
    payload = kept(fail({**JOB, "retry_count": strange}))
    assert (payload["retry_count"], payload["failed_at"]) == (0, NOW)
    assert "retried_at" not in payload


def test_times_can_be_the_milliseconds_of_sidekiq_8() -> None:
    first = kept(fail(JOB, timestamps="ms"))
    assert (first["failed_at"], type(first["failed_at"])) == (1795305700750, int)
    assert kept(fail(first, timestamps="ms"))["retried_at"] == 1795305700750


def test_what_it_does_not_know_it_keeps() -> None:
    assert kept(fail({**JOB, "cattr": {"user": 7}, "bid": "b"}))["cattr"] == {"user": 7}


def test_the_payload_that_failed_is_not_changed() -> None:
    before = dict(JOB)
    fail(before)
    assert before == JOB


class Own(Exception):
    """An error of an application."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class NotText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # what the test is about


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError(), "ValueError"),
        (SystemExit(1), "SystemExit"),
        (ConnectionResetError(), "ConnectionResetError"),
        (Own(), f"{__name__}.Own"),
        (json.JSONDecodeError("x", "y", 0), "json.decoder.JSONDecodeError"),
    ],
)
def test_built_in_errors_are_named_bare_and_others_in_full(error: BaseException, name: str) -> None:
    assert error_class(error) == name


def test_a_long_message_is_clipped() -> None:
    assert kept(fail(JOB, ValueError("é" * 10_001)))["error_message"] == "é" * 10_000


def test_a_message_with_half_a_character_can_still_be_written() -> None:
    payload = kept(fail(JOB, ValueError("file \udce9.txt")))
    assert payload["error_message"] == "file ?.txt"
    assert encode(payload)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Unprintable(), "(its message cannot be shown: RuntimeError)"),
        (NotText(), "(its message cannot be shown: TypeError)"),
        (ValueError(), ""),
    ],
)
def test_an_error_that_cannot_be_shown_is_still_a_failure(error: BaseException, message: str) -> None:
    assert kept(fail(JOB, error))["error_message"] == message


@given(st.text(st.characters()), st.booleans())
def test_any_message_can_be_written_and_read_again(text: str, again: bool) -> None:
    job = {**JOB, **RETRIED, "retry_count": 0} if again else JOB
    payload = kept(fail(job, ValueError(text)))
    assert json.loads(encode(payload)) == payload
    assert len(payload["error_message"]) <= 10_000


def test_a_backtrace_is_kept_only_when_asked_for() -> None:
    error = raised(ValueError("boom"))
    for option in (False, None, 0):
        assert "error_backtrace" not in kept(fail({**JOB, "backtrace": option}, error))
    assert "error_backtrace" not in kept(fail(JOB, error))


def test_a_whole_backtrace_has_the_innermost_line_first() -> None:
    stored = kept(fail({**JOB, "backtrace": True}, raised(ValueError("boom"))))["error_backtrace"]
    assert "\n" not in stored
    inner, outer = decode_backtrace(stored)
    assert inner.startswith(__file__)
    assert inner.endswith(":in `deep'")
    assert outer.endswith(":in `raised'")


def test_a_backtrace_can_be_cut_to_its_first_lines() -> None:
    stored = kept(fail({**JOB, "backtrace": 1}, raised(ValueError("boom"))))["error_backtrace"]
    [line] = decode_backtrace(stored)
    assert line.endswith(":in `deep'")


def defer(payload: dict[str, Any], now: float = NOW, **given: Any) -> Deferred | Dead:
    return unknown_class(payload, "FailJob", queue="fetched", now=now, policy=RetryPolicy(**given))


def test_a_job_of_an_unknown_class_waits_as_it_is() -> None:
    outcome = defer(JOB)
    assert outcome == Deferred(NOW + 15, {**JOB, "queue": "fetched", "failed_at": NOW, "unknown_since": NOW})


def test_the_time_of_an_earlier_failure_stays_and_the_first_one_is_its_own() -> None:
    """Sidekiq's Web UI needs `failed_at` in every entry of `retry`, also of a job that never ran."""
    waiting = defer({**JOB, "retry_count": 0, "failed_at": NOW - 50})
    assert isinstance(waiting, Deferred)
    assert waiting.payload["failed_at"] == NOW - 50
    assert kept(fail({**JOB, "failed_at": NOW - 50, "unknown_since": NOW - 50}))["failed_at"] == NOW


def test_its_waits_double_up_to_ten_minutes_and_end_after_a_day() -> None:
    now, payload, waits = NOW, dict(JOB), []
    while isinstance(outcome := defer(payload, now), Deferred):
        assert outcome.payload["unknown_since"] == NOW
        waits.append(outcome.at - now)
        now, payload = outcome.at, outcome.payload
    assert waits[:8] == [15, 15, 30, 60, 120, 240, 480, 600]
    assert set(waits[8:]) == {600}
    assert 24 * 3600 <= now - NOW < 24 * 3600 + 600
    assert outcome.payload["error_class"] == "jobd.worker.retry.UnknownJob"
    assert "no process knew the job 'FailJob' for 24 h" in outcome.payload["error_message"]
    assert "unknown_since" not in outcome.payload


def test_waiting_for_a_class_is_no_attempt() -> None:
    outcome = defer({**JOB, "retry_count": 2})
    assert isinstance(outcome, Deferred)
    assert outcome.payload["retry_count"] == 2
    assert "error_class" not in outcome.payload


def test_once_its_class_is_known_a_failure_forgets_the_waiting() -> None:
    assert "unknown_since" not in kept(fail({**JOB, "unknown_since": NOW - 60}))


def test_how_long_it_waits_can_be_set() -> None:
    assert isinstance(defer({**JOB, "unknown_since": NOW - 59}, unknown_class_timeout=60), Deferred)
    assert isinstance(defer({**JOB, "unknown_since": NOW - 60}, unknown_class_timeout=60), Dead)


@given(st.one_of(st.none(), st.text(), st.booleans(), st.floats(), st.integers(), st.lists(st.integers(), max_size=2)))
def test_whatever_unknown_since_holds_the_wait_is_within_bounds(since: object) -> None:
    outcome = defer({**JOB, "unknown_since": since})
    if isinstance(outcome, Deferred):
        assert 15 <= outcome.at - NOW <= 600


_json = st.one_of(st.none(), st.booleans(), st.integers(-5, 2000), st.floats(-1e6, 1e12), st.text(max_size=3))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "retry": _json,
            "retry_count": st.integers(-2, 60),
            "retry_for": _json,
            "failed_at": _json,
            "dead": _json,
            "backtrace": _json,
            "retry_queue": _json,
        },
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_whatever_the_options_hold_the_outcome_can_be_written(options: dict[str, Any], jitter: float) -> None:
    outcome = fail({**JOB, **options}, raised(ValueError("boom")), jitter=jitter)
    if isinstance(outcome, RetryAt):
        count = outcome.payload["retry_count"]
        assert count**4 + 15 <= outcome.at - NOW < count**4 + 15 + 10 * max(count + 1, 1)
    if not isinstance(outcome, Discarded):
        payload = json.loads(encode(outcome.payload))
        assert payload["retry_count"] == options.get("retry_count", -1) + 1
        assert isinstance(payload["queue"], str)
