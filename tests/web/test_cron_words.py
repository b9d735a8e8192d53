"""Words of cron expressions: a table in two languages, and that every valid expression has right ones in both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cronsim.cronsim import Field
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.client import cron_words
from jobd.client.cron_expression import parse
from jobd.client.cron_set import CronSet
from jobd.client.errors import InvalidCron
from jobd.client.push import Client
from jobd.web.text import translate
from jobd.web.vietnamese import VIETNAMESE
from tests.web.browser import Browser

TABLE = [
    ("0 8 * * *", "At 08:00 every day", "Lúc 08:00 hằng ngày"),
    ("* * * * *", "Every minute", "Mỗi phút"),
    ("* * * * * *", "Every second", "Mỗi giây"),
    ("*/5 * * * *", "Every 5 minutes", "Cứ 5 phút một lần"),
    ("*/10 * * * * *", "Every 10 seconds", "Cứ 10 giây một lần"),
    ("0 * * * *", "Every hour", "Mỗi giờ"),
    ("0 */2 * * *", "Every 2 hours", "Cứ 2 giờ một lần"),
    ("@every 90s", "Every 90 seconds", "Cứ 90 giây một lần"),
    ("@every 120m", "Every 2 hours", "Cứ 2 giờ một lần"),
    ("@every 1d", "Every day", "Hằng ngày"),
    ("*/7 * * * *", "At minute 0 to 56 in steps of 7 of every hour", "Ở phút 0 đến 56 cách nhau 7 của mỗi giờ"),
    ("5,35 * * * *", "At minute 5 and 35 of every hour", "Ở phút 5 và 35 của mỗi giờ"),
    ("*/30 9 * * *", "At 09:00 and 09:30 every day", "Lúc 09:00 và 09:30 hằng ngày"),
    ("*/70 * * * *", "Every hour", "Mỗi giờ"),
    ("0 9-17 * * *", "Every hour from 09:00 to 17:00", "Mỗi giờ từ 09:00 đến 17:00"),
    (
        "*/15 9-17 * * mon-fri",
        "Every 15 minutes from 09:00 to 17:59 on Monday to Friday",
        "Cứ 15 phút một lần từ 09:00 đến 17:59 vào thứ Hai đến thứ Sáu",
    ),
    ("30 */2 * * *", "At minute 30 every 2 hours", "Ở phút 30 cứ 2 giờ một lần"),
    (
        "*/15 */2 * * *",
        "Every 15 minutes in hour 0 to 22 in steps of 2",
        "Cứ 15 phút một lần trong giờ 0 đến 22 cách nhau 2",
    ),
    ("30 5 9-17 * * *", "At second 30 at minute 5 in hour 9 to 17", "Ở giây 30 ở phút 5 trong giờ 9 đến 17"),
    ("10,30 * * * * *", "At second 10 and 30 every minute", "Ở giây 10 và 30 mỗi phút"),
    ("0 0 1 1 *", "At 00:00 on 1 January", "Lúc 00:00 vào ngày 1 tháng 1"),
    ("0 0 22 * *", "At 00:00 on day 22 of the month", "Lúc 00:00 vào ngày 22 của tháng"),
    (
        "0 9 1,L,LW * *",
        "At 09:00 on day 1, the last day and the last weekday of the month",
        "Lúc 09:00 vào ngày 1, ngày cuối cùng và ngày làm việc cuối cùng của tháng",
    ),
    ("0 9 * * mon#2", "At 09:00 on the second Monday of the month", "Lúc 09:00 vào thứ Hai lần thứ hai trong tháng"),
    ("0 9 * * 5L", "At 09:00 on the last Friday of the month", "Lúc 09:00 vào thứ Sáu cuối cùng của tháng"),
    ("0 0 * * 5-7", "At 00:00 on Friday, Saturday and Sunday", "Lúc 00:00 vào thứ Sáu, thứ Bảy và Chủ Nhật"),
    ("0 0 * 1-6 *", "At 00:00 every day in January to June", "Lúc 00:00 hằng ngày trong tháng 1 đến tháng 6"),
    ("* * * 1 *", "Every minute in January", "Mỗi phút trong tháng 1"),
    ("0 0 13 * 5", "At 00:00 on day 13 of the month, and on Friday", "Lúc 00:00 vào ngày 13 của tháng, và vào thứ Sáu"),
    (
        "0 0 */2 * 1",
        "At 00:00 on day 1 to 31 in steps of 2 of the month, if that is Monday",
        "Lúc 00:00 vào ngày 1 đến 31 cách nhau 2 của tháng, nếu đó là thứ Hai",
    ),
    (
        "0 0 1 1 mon",
        "At 00:00 on day 1 of the month, and on Monday, in January",
        "Lúc 00:00 vào ngày 1 của tháng, và vào thứ Hai, trong tháng 1",
    ),
    ("0 0 13 * 0-6", "At 00:00 every day", "Lúc 00:00 hằng ngày"),
    ("0 0 1-31 * 5", "At 00:00 every day", "Lúc 00:00 hằng ngày"),
]
LIMITS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def vietnamese(text: str, /, **values: Any) -> str:
    assert text in VIETNAMESE, text
    return translate(text, "vi", values)


@pytest.mark.parametrize(("expression", "english", "other"), TABLE)
def test_an_expression_in_both_languages(expression: str, english: str, other: str) -> None:
    assert (parse(expression).words, parse(expression).said(vietnamese)) == (english, other)


def number(place: int) -> st.SearchStrategy[str]:
    low, high = LIMITS[place]
    names = {4: cron_words.MONTHS, 5: cron_words.WEEKDAYS}.get(place, ())
    plain = st.integers(low, high).map(str)
    return plain | st.sampled_from([name[:3] for name in names]) if names else plain


@st.composite
def terms(draw: st.DrawFn, place: int) -> str:
    low, high = LIMITS[place]
    first = draw(st.integers(low, high))
    step = draw(st.sampled_from(("", "", "/1", "/2", "/7", "/15", "/99")))
    kinds = [f"*{step}", f"{first}-{draw(st.integers(first, high))}{step}", f"{draw(number(place))}{step}"]
    if place == 3:
        kinds += [f"L{step}", f"LW{step}"]
    if place == 5:
        kinds += [f"{draw(number(5))}#{draw(st.integers(1, 5))}", f"{first}L"]
    return draw(st.sampled_from(kinds))


def field(place: int) -> st.SearchStrategy[str]:
    return st.just("*") | st.lists(terms(place), min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(*map(field, range(6))).map(" ".join) | st.tuples(*map(field, range(1, 6))).map(" ".join)


@given(EXPRESSIONS)
@settings(max_examples=100, deadline=None)
def test_every_valid_expression_has_words_in_both_languages(expression: str) -> None:
    try:
        schedule = parse(expression)
    except InvalidCron:
        return  # the 31st of a month that has none
    english, other = schedule.words, schedule.said(vietnamese)
    for said in (english, other):
        assert said[0].isupper()
        assert not re.search(r"[{}]|  |, ,|^ | $", said)
    assert english != other


@given(st.integers(0, 5).flatmap(lambda place: st.tuples(st.just(place), field(place))))
@settings(max_examples=100, deadline=None)
def test_a_field_is_read_as_the_one_who_ticks_reads_it(given_field: tuple[int, str]) -> None:
    place, text = given_field
    special = {-1000: -1, -1001: -2}
    wanted = {special.get(each, each) for each in Field(place).parse(text.upper()) if isinstance(each, int)}
    found = cron_words._field(place, text.upper())
    values = {value for part in found.parts if not part.nth for value in part.values}
    assert values == ({value % 7 for value in wanted} if place == 5 else wanted)


def test_all_that_is_said_can_be_said_in_vietnamese() -> None:
    units = [text for pair in cron_words._UNITS.values() for text in pair]
    said = {*cron_words.WEEKDAYS, *cron_words.MONTHS, *cron_words.NTH.values(), *units}
    said |= {cron_words._EITHER, cron_words._BOTH}
    said |= set(re.findall(r'say\("([^"]+)"', Path(cron_words.__file__).read_text()))
    assert len(said) > 40
    assert sorted(said - set(VIETNAMESE)) == []


def test_the_pages_say_it_in_the_language_of_the_reader(browser: Browser, client: Client) -> None:
    CronSet(client).create("tick", "0 9 * * mon#2", "HardJob", timezone="Asia/Ho_Chi_Minh")
    for path in ("/cron", "/cron/tick"):
        assert "Lúc 09:00 vào thứ Hai lần thứ hai trong tháng" in browser.get(path, **{"accept-language": "vi"}).text
        assert "At 09:00 on the second Monday of the month" in browser.get(path).text
