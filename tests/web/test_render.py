"""How numbers and times are written: short, and never as what they are not."""

from __future__ import annotations

import math
import re

import pytest

from jobd.web.render import change, duration, moment, percent, short, size
from jobd.web.vietnamese import VIETNAMESE


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0004, "<1 ms"),
        (0.0042, "4 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (1.84, "1.8 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (192, "3 min 12 s"),
        (3_599.7, "1 h"),
        (7_500, "2 h 5 min"),
        (86_400, "1 d"),
        (100_000, "1 d 3 h"),
        (365 * 86_400 + 4_000, "365 d"),
        (-5, "-5.0 s"),
        (math.inf, "–"),
        (math.nan, "–"),
    ],
)
def test_a_length_of_time_is_short_and_not_nothing(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1_023, "1,023 B"),
        (1_024, "1.0 KB"),
        (1_500_000, "1.4 MB"),
        (200 * 1024**2, "200 MB"),
        (1_023.9 * 1024, "1.0 MB"),
        (23.5 * 1024**3, "23.5 GB"),
        (5_000 * 1024**4, "5,000 TB"),
    ],
)
def test_a_size_has_two_digits_at_least(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0%"), (0.0001, "<0.1%"), (0.0006, "0.1%"), (0.125, "12.5%"), (0.99951, ">99.9%"), (1, "100.0%")],
)
def test_a_share_is_not_rounded_to_none_or_all(share: float, text: str) -> None:
    assert percent(share) == text


def test_a_time_is_told_in_utc_and_what_is_none_as_it_is() -> None:
    assert moment(1_800_000_000.9) == "2027-01-15 08:00:00"
    assert [moment(wrong) for wrong in (1e18, math.nan, math.inf)] == ["1e+18", "nan", "inf"]


def test_the_short_name_of_a_text_stays_the_same_and_tells_it_from_others() -> None:
    assert short("a b") == short("a b") != short("a c")
    assert short("raw\udcff").isalnum()


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [(15, 10, "+50 %"), (0, 10, "-100 %"), (1_000, 999.9, "±0 %"), (5, 0, "–"), (None, 5, "–"), (5, None, "–")],
)
def test_a_change_is_told_against_what_was_before(now: float | None, before: float | None, text: str) -> None:
    assert change(now, before) == text


def test_vietnamese_has_one_spelling_and_one_word_for_a_thing() -> None:
    said = "\n".join(VIETNAMESE.values())
    assert not re.findall(r"[xX]óa|[kK]hóa|[hH]ủy|\d\.\d{3}|[tT]ín hiệu nhịp|[gG]hi vết", said)
    assert (VIETNAMESE["Log threads"], VIETNAMESE["Cancel"]) == ("Ghi ngăn xếp vào nhật ký", "Huỷ")
