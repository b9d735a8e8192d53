"""The beginning of a large value, so that what is done with it costs no more than what is shown of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MOST_CHARACTERS = 10_000
"""Of one text in a preview."""
MOST_WHOLE = 100_000
"""Of one text anywhere; what follows is not shown."""
_LONGEST = 6_000
"""Longer than any secret that is told by its shape."""
_BETWEEN = ' \t\r\n",;'
_DEEPEST = 200


def untorn(text: str, most: int) -> str:
    """At most so many characters, with a mark where it was cut: between words or values of JSON.

    Half a secret is not known as one.
    """
    if len(text) <= most:
        return text
    window = text[most - _LONGEST : most]
    end = max(map(window.rfind, _BETWEEN))
    return text[: most - _LONGEST] + window[: max(end, 0)] + "…"


def prune(value: Any, nodes: int) -> Any:
    """The first `nodes` values of a value of JSON, in the order in which it is written; texts cut as well."""
    return _prune(value, _Budget(nodes), 0)


def within(value: Any, characters: int) -> tuple[Any, bool]:
    """The beginning of a value of JSON that has about so many characters, and whether that is not all of it."""
    budget = _Budget(characters, by_length=True)
    return _prune(value, budget, 0), budget.is_cut


@dataclass(slots=True)
class _Budget:
    """How much more may be taken: values, each of them 1; `by_length` characters."""

    left: int
    by_length: bool = False
    is_cut: bool = False

    def takes(self, value: Any) -> None:
        self.left -= (len(value[:MOST_WHOLE]) if isinstance(value, str) else 0) + 4 if self.by_length else 1

    def is_spent(self) -> bool:
        """Asked before something more is taken."""
        self.is_cut = self.is_cut or self.left <= 0
        return self.left <= 0


def _prune(value: Any, budget: _Budget, depth: int) -> Any:
    budget.takes(value)
    if isinstance(value, str):
        most = MOST_WHOLE if budget.by_length else MOST_CHARACTERS
        budget.is_cut = budget.is_cut or len(value) > most
        return untorn(value, most)
    if isinstance(value, dict | list) and depth >= _DEEPEST:
        return "…"
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, item in value.items():
            if budget.is_spent():
                found["…"] = "…"
                break
            budget.left -= len(key) if budget.by_length else 0
            found[untorn(key, MOST_CHARACTERS)] = _prune(item, budget, depth + 1)
        return found
    if isinstance(value, list):
        items: list[Any] = []
        for item in value:
            if budget.is_spent():
                items.append("…")
                break
            items.append(_prune(item, budget, depth + 1))
        return items
    return value
