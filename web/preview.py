"""The beginning of a large value, so that what is done with it costs no more than what is shown of it. Pure."""

from __future__ import annotations

from typing import Any

MOST_CHARACTERS = 10_000
"""Of one text in a preview: longer than any secret that is told by its shape, of which a cut would leave a part."""
_DEEPEST = 200


def prune(value: Any, nodes: int) -> Any:
    """The first `nodes` values of a value of JSON, in the order in which it is written; texts cut as well."""
    return _prune(value, [nodes], 0)


def _prune(value: Any, left: list[int], depth: int) -> Any:
    left[0] -= 1
    if isinstance(value, str):
        return value if len(value) <= MOST_CHARACTERS else value[:MOST_CHARACTERS] + "…"
    if isinstance(value, dict | list) and depth >= _DEEPEST:
        return "…"
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, item in value.items():
            if left[0] <= 0:
                found["…"] = "…"
                break
            found[key if len(key) <= MOST_CHARACTERS else key[:MOST_CHARACTERS]] = _prune(item, left, depth + 1)
        return found
    if isinstance(value, list):
        items: list[Any] = []
        for item in value:
            if left[0] <= 0:
                items.append("…")
                break
            items.append(_prune(item, left, depth + 1))
        return items
    return value
