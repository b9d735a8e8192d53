"""Templates: what they put out is escaped and can be shown, and they read dictionaries and objects alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateAssertionError, UndefinedError
from markupsafe import Markup

from jobd.web import engine
from jobd.web.engine import Engine


def made(directory: Path, template: str, **values: Any) -> str:
    (directory / "page.html").write_text(template)
    return Engine(directory).get_template("page.html").render(**values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("""<a href='x' title="y">&""", "&lt;a href=&#39;x&#39; title=&#34;y&#34;&gt;&amp;"),
        ("<\u202e\x00>", "&lt;\\u202e\\u0000&gt;"),
        (Markup("<b>"), "<b>"),
        (12, "12"),
        (None, "None"),
        (["<"], "[&#39;&lt;&#39;]"),
    ],
)
def test_what_is_put_out_is_escaped_and_can_be_shown(tmp_path: Path, value: object, text: str) -> None:
    assert made(tmp_path, "{{ value }}", value=value) == text
    assert made(tmp_path, "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(value) }}", value=value) == text


def test_what_nobody_escapes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateAssertionError, match="escapes everything"):
        made(tmp_path, "{% autoescape false %}{{ value }}{% endautoescape %}", value="<")


def test_names_in_a_dictionary_hide_nothing_of_it(tmp_path: Path) -> None:
    found = {"items": 1, "get": 2, "name": "x"}
    assert made(tmp_path, "{{ found.name }} {{ found.items() | length }} {{ found['get'] }}", found=found) == "x 3 2"
    assert made(tmp_path, "{{ found.name is defined }} {{ found.none is defined }}", found=found) == "True False"
    for wrong in ("found.none", "found.none.more", "nothing", "nothing()"):
        with pytest.raises(UndefinedError):
            made(tmp_path, "{{ " + wrong + " }}", found=found)


def test_a_block_is_passed_to_the_macro_that_is_called_with_it(tmp_path: Path) -> None:
    template = "{% macro m(x) %}[{{ x }}{{ caller() }}]{% endmacro %}{% call m(1) %}<i>{{ y }}</i>{% endcall %}"
    assert made(tmp_path, template, y="<") == "[1<i>&lt;</i>]"


def test_what_keeps_its_quotes_stands_between_tags_alone(tmp_path: Path) -> None:
    hostile = """<a href='x' title="y">&\x00"""
    expected = """&lt;a href='x' title="y"&gt;&amp;\\u0000"""
    assert engine.within(hostile) == expected
    uses = 0
    for path in (Path(engine.__file__).parent / "templates").iterdir():
        html = re.sub(r"{%.*?%}|{#.*?#}", "", path.read_text())
        for found in re.finditer(r"\|\s*within\b", html):
            before = re.sub(r"{{.*?}}", "", html[: html.rindex("{{", 0, found.start())])
            assert before.rindex(">") > before.rindex("<"), f"{path.name}: {found[0]} within a tag"
            uses += 1
    assert uses >= 4
