"""How templates are carried out: Jinja's language, with code that is made for pages of thousands of small values.

Each value is escaped and made fit to be shown in one step, dictionaries are asked for what they hold without being
tried for an attribute first, and what a template calls is called, and not looked at. What pages are made of, and how
numbers and times are written, is told in `render.py`.
"""

from __future__ import annotations

import operator
import re
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from markupsafe import Markup, escape

from jobd.web.text import printable

_special = re.compile("[&<>'\"]").search
_OF_DICTIONARIES = frozenset(dir(dict))
"""Attributes that all dictionaries have, whatever they hold."""


def shown(value: Any) -> str:
    """A value as it stands in a page: escaped unless it is HTML of ours, and without what cannot be shown."""
    kind = type(value)
    if kind is str:
        # As most texts are: then they stay as they are.
        return value if value.isprintable() and not _special(value) else escape(printable(value))
    if kind is Markup or kind is int:
        return str(value)
    return escape(_finalize(value))


def within(value: str) -> Markup:
    """A text that stands between two tags, where quotes stand for themselves: JSON is full of them."""
    return Markup(printable(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _finalize(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


class _Generator(CodeGenerator):
    """Writes the code of a template. Nothing that it calls wants the context, and all that it puts out is escaped."""

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile or not frame.eval_ctx.autoescape:
            self.fail("a template escapes everything", node.lineno)
        self.write("environment.shown(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(")")

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:  # noqa: N802
        """Write a call, which has the arguments that the template gives."""
        self.write("environment.called(")
        self.visit(node.node, frame)
        self.signature(node, frame, {"caller": "caller"} if forward_caller else None)
        self.write(")")


class Engine(Environment):
    """The templates of a directory; what is not there is an error."""

    code_generator_class = _Generator
    shown, called = staticmethod(shown), cast(Any, operator.call)

    def __init__(self, directory: Path) -> None:
        super().__init__(
            loader=FileSystemLoader(directory),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What an object has under a name: an attribute, else an item."""
        if type(obj) is dict and attribute not in _OF_DICTIONARIES:
            try:
                return obj[attribute]
            except KeyError:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)
