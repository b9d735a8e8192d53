"""How commands print: tables for people, one JSON document for programs, colours only where they are wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import click

from jobd.supervisor.status_text import printable

_WIDEST = 60
"""Characters of a cell; programs read JSON."""


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


@dataclass(frozen=True)
class Style:
    """Colours of a terminal, or none."""

    enabled: bool = False

    @classmethod
    def of(cls, stream: TextIO, variables: Mapping[str, str] | None = None) -> Style:
        """Those for `stream`: none when it is no terminal, a simple one, or `$NO_COLOR` is set."""
        known = os.environ if variables is None else variables
        return cls(stream.isatty() and not known.get("NO_COLOR") and known.get("TERM") != "dumb")

    def bold(self, text: str) -> str:
        """For headings."""
        return self._coded("1", text)

    def warning(self, text: str) -> str:
        """For what somebody should look at."""
        return self._coded("33", text)

    def _coded(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.enabled else text


def emit(text: str) -> None:
    """Print an answer."""
    click.echo(text)


def emit_json(document: Any) -> None:
    """Print one JSON document."""
    emit(json.dumps(document))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], style: Style, *, right: Collection[str] = ()) -> str:
    """Lines of aligned columns under bold headings; the columns named in `right` are aligned there.

    What a terminal would obey is escaped, long cells are cut.
    """
    cells = [list(map(cut, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        shown = [
            f"{cell:>{width}}" if heading in right else f"{cell:<{width}}"
            for cell, width, heading in zip(row, widths, headings, strict=True)
        ]
        return "  ".join(shown).rstrip()

    return "\n".join([style.bold(line(headings)), *map(line, cells)])


def cut(text: str, width: int = _WIDEST) -> str:
    """`text` as one printable line of at most `width` characters."""
    shown = printable(text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def plural(count: int, one: str) -> str:
    """`1 job`, `1,200 jobs`."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"
