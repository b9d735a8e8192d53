"""Charts are drawn on the server: lines to scale, gaps as gaps, words and a table beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobd.web import charts, render
from jobd.web.pages import metrics
from jobd.web.text import translate
from tests.web.browser import Page

HOUR = 1_700_000_400.0


def figures(*values: list[float | None], unit: str = "count", unfinished: bool = False, **more: Any) -> dict[str, Any]:
    """Data of a chart with a point a minute."""
    series = [{"label": f"line {i}", "state": "running", "values": each} for i, each in enumerate(values)]
    x = [HOUR + 60 * i for i in range(len(values[0]) if values else 0)]
    return {"x": x, "series": series, "unit": unit, "unfinished": unfinished, **more}


def draw(data: dict[str, Any], deploys: Any = ()) -> Page:
    """The chart as a browser reads it."""
    template = render._environment().from_string(
        '{% from "charts.html" import chart, sparkline %}{{ chart("c", "Jobs", data, _, deploys) }}'
        '{{ sparkline([0, None, 4], "S") }}'
    )
    return Page.of(template.render(data=data, deploys=deploys, _=lambda text, **values: translate(text, "en", values)))


def test_lines_are_to_scale_and_a_gap_parts_them() -> None:
    [line] = charts.plot(figures([0, 10, None, 5])).lines
    assert line.runs == ("0,200.0 333,0.0", "1000,100.0 1002,100.0")
    assert line.areas[0] == "0,200.0 333,0.0 333,200 0,200"
    assert (line.glyph, line.last, line.unfinished) == ("▶", "5", "")


def test_heights_go_by_powers_of_ten_where_they_are_to() -> None:
    plot = charts.plot(figures([0, 0.001, 0.1, 10], unit="seconds", log=True))
    assert plot.lines[0].runs == ("0,200.0 333,200.0 667,100.0 1000,0.0",)
    assert plot.heights == ("10 s", "100 ms", "1 ms")
    assert charts.plot(figures([0, 0], unit="seconds", log=True)).lines[0].runs == ("0,200.0 1000,200.0",)


def test_the_last_bucket_is_dashed_while_it_is_not_complete_and_lines_of_a_state_are_told_apart() -> None:
    first, second = charts.plot(figures([1, 2, 2], [2, 2, 1], unfinished=True)).lines
    assert (first.runs, first.unfinished) == (("0,100.0 500,0.0",), "500,0.0 1000,0.0")
    assert (first.nth, second.nth) == (0, 1)


def test_beside_a_line_stands_its_last_value_that_is_complete() -> None:
    for unfinished, last in ((True, "12"), (False, "0")):
        made = charts.plot(figures([7, 12, 0], unfinished=unfinished))
        assert (made.lines[0].last, made.summary) == (last, f"line 0: {last}")
    assert charts.plot(figures([3], unfinished=True)).lines[0].last == "3"


@pytest.mark.parametrize(
    ("values", "unit", "top"),
    [
        ([], "count", 1),
        ([1], "count", 2),
        ([12, 3], "count", 20),
        ([1000], "count", 1000),
        ([0.0031], "seconds", 0.005),
        ([3000], "bytes", 5 * 1024),
        ([1023], "bytes", 2000),
    ],
)
def test_the_top_is_a_round_number_from_the_greatest_value_up(values: list[float], unit: str, top: float) -> None:
    assert charts.ceiling(values, unit) == pytest.approx(top)


def test_values_are_written_in_their_unit() -> None:
    written = [charts.write_value("seconds")(value) for value in (None, 0, 0.0213, 1.8, 600, 7200, 200_000)]
    assert written == ["–", "0 s", "21.3 ms", "1.8 s", "10 min", "2 h", "2.31 d"]
    assert [charts.write_value("bytes")(value) for value in (10, 2048, 3 * 1024**3)] == ["10 B", "2 KB", "3 GB"]
    assert [charts.write_value("count")(value) for value in (7, 0.25, 1234.5)] == ["7", "0.25", "1,234"]


def test_the_picture_has_words_for_those_who_do_not_see_it_and_data_for_scripts() -> None:
    page = draw(figures([1, 2], [3, None]))
    [figure] = page.all("figure")
    assert json.loads(figure["data-chart"] or "")["series"][1]["values"] == [3, None]
    labels = [svg.get("aria-label") for svg in page.all("svg") if svg.get("role") == "img"]
    assert labels == ["Jobs. line 0: 2; line 1: –", "S"]
    assert [text in page.text for text in ("As a table", "22:21", "Time (UTC)")] == [True] * 3
    assert not any(name in attributes for _, attributes in page.elements for name in ("style", "onclick"))


@pytest.mark.parametrize("data", [figures(), figures([]), figures([7]), figures([float("nan"), float("inf")])])
def test_no_or_strange_figures_break_nothing(data: dict[str, Any]) -> None:
    page = draw(data)
    assert ("No figures yet." in page.text) is not bool(data["x"])
    json.loads(page.all("figure")[0]["data-chart"] or "", parse_constant=pytest.fail)


def test_of_many_points_the_newest_are_drawn_and_the_table_says_what_it_leaves_out() -> None:
    data = figures([float(i) for i in range(900)])
    made = charts.plot(data)
    assert (made.points, made.rows[0][1], len(made.rows)) == (500, ("899",), charts.MOST_ROWS)
    assert "The newest 120 of 500 points." in draw(data).text


def test_hostile_labels_are_escaped() -> None:
    data = figures([1, 2])
    data["series"][0]["label"] = "</figure><script>alert(1)</script>\u202e"
    page = draw(data)
    assert page.all("script") == []
    assert "\\u202e" in page.text


def test_deploys_stand_where_they_were_with_a_label_and_in_the_table() -> None:
    marks = [{"at": at, "label": label} for at, label in ((HOUR + 150, "v3"), (HOUR + 90, "v2"), (HOUR - 1, "v1"))]
    made = charts.plot(figures([1, 2, 3]), marks)
    assert (made.deploys, made.verticals) == (2, "M1000 0V200M750 0V200")
    assert [(flag.x, flag.label, flag.before) for flag in made.flags] == [(100.0, "v3", True), (75.0, "v2", True)]
    assert [row[2] for row in made.rows] == ["v3", "v2", ""]
    assert json.loads(made.json)["deploys"] == [[HOUR + 120, "v3"], [HOUR + 90, "v2"]]
    page = draw(figures([1, 2, 3]), marks)
    assert ("Deploys 2" in page.text, [each.get("d") for each in page.all("path")][1]) == (True, made.verticals)
    assert [each["x"] for each in page.all("text")] == ["100.0%", "75.0%"]


def test_labels_of_deploys_have_room_the_newest_first() -> None:
    marks = [{"at": HOUR + 600 - 6 * i, "label": f"a long label {i:04}"} for i in range(100)]
    made = charts.plot(figures([1.0] * 11), marks)
    assert (made.deploys, made.verticals.count("M")) == (100, 100)
    assert made.flags[0].label == "a long label 00…"
    assert 2 <= len(made.flags) <= 5
    assert len(draw(figures([1.0] * 11), marks).text) < 5_000


@pytest.mark.parametrize("data", [figures(), figures([]), figures([7])])
def test_without_a_course_there_is_no_place_for_a_deploy(data: dict[str, Any]) -> None:
    assert charts.plot(data, [{"at": HOUR, "label": "v1"}]).deploys == 0


def test_hostile_labels_of_deploys_are_escaped() -> None:
    page = draw(figures([1, 2]), [{"at": HOUR + 1, "label": "</svg><script>alert(1)</script>\u202e"}])
    assert page.all("script") == []
    assert "\\u202e" in page.text


@pytest.mark.parametrize("points", [2, 25, 60, 72, 144])
def test_a_sparkline_ends_with_what_is_complete_and_has_steps_of_one_length(points: int) -> None:
    told: list[dict[str, list[int]]] = [{"A": [5, 0, 0]}] * (points - 1) + [{"A": [1, 0, 0]}]
    drawn = metrics._trend(told, "A")
    assert 0 < len(drawn) <= metrics.TREND
    assert set(drawn) == {5 * -(-(points - 1) // metrics.TREND)}
