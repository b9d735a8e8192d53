"""Whether the arguments of a push fit the job and can travel as JSON.

Only values that come out of JSON as they went in are taken: `str`, `int`, finite `float`, `bool`,
None, `list`, `dict` with string keys, and `tuple`, which arrives as a list. Subclasses are refused,
since the job would not get them back: an `IntEnum` would arrive as a bare number.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

from jobd.client import defaults
from jobd.client.errors import InvalidArguments, UnserializableArgument

_SAFE = frozenset({bool, type(None)})
_MAX_ORDINARY = 2**63
"""Integers up to here are known to be short enough without counting their bits."""
_MAX_INTEGER_BITS = 8_192
"""Longer integers are refused; Python's own limit for reading one from text is 4,300 digits."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that cannot travel: where it is below the value looked at, what it is, what to do."""

    path: str
    problem: str
    remedy: str

    def below(self, step: str) -> Fault:
        """Return the fault as seen from one level further up."""
        return Fault(step + self.path, self.problem, self.remedy)

    def described(self, root: str) -> str:
        """Return place and problem, the place starting at `root`."""
        return f"{root}{self.path} is {self.problem}"


def bind(
    name: str, signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call as they travel: positional where the signature allows it.

    Defaults are not filled in, so that the job's own, at the time of the run, apply. Raises
    `InvalidArguments` when the call does not fit `signature`.
    """
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InvalidArguments(
            f"{name}{_without_types(signature)}: {error}; push the arguments with which you would call it"
        ) from None
    return list(bound.args), bound.kwargs


def plain_calls(signature: inspect.Signature) -> range:
    """Return how many arguments a call of positional ones alone may have; empty when it needs keywords.

    Such a call binds as it is, so that `bind` can be left out; it alone says what is wrong with another.
    """
    least = most = 0
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = sys.maxsize - 1
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += parameter.default is parameter.empty
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            return range(0)
    return range(least, most + 1)


def _without_types(signature: inspect.Signature) -> inspect.Signature:
    """For messages: how annotations print depends on the version of Python and on the module's imports."""
    bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return inspect.Signature(bare)


def check(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise `UnserializableArgument` when an argument of the job `name` cannot travel as JSON."""
    check_positional(name, args)
    for key, value in kwargs.items():
        if fault := find_fault(value):
            raise _refused(name, key, fault)


def check_positional(name: str, args: Sequence[Any]) -> None:
    """`check` for a call without keyword arguments."""
    # Every push comes by here: what most arguments are is let through without a call, and places are counted later.
    for value in args:
        kind = type(value)
        if kind is int:
            if -_MAX_ORDINARY < value < _MAX_ORDINARY:
                continue
        elif kind is str:
            if value.isascii():
                continue
        elif kind in _SAFE:
            continue
        if find_fault(value):
            break
    else:
        return
    for index, value in enumerate(args):
        if fault := find_fault(value):
            raise _refused(name, f"args[{index}]", fault)


def _refused(name: str, root: str, fault: Fault) -> UnserializableArgument:
    return UnserializableArgument(f"{name}: {fault.described(root)}, and arguments travel as JSON; {fault.remedy}")


def find_fault(value: Any, depth: int = 1) -> Fault | None:
    """Return the first thing in `value` that cannot travel as JSON, or None when all of it can."""
    kind = type(value)
    if kind is str:
        return None if value.isascii() else _text_fault(value)
    if kind in _SAFE:
        return None
    if kind is int:
        return _integer_fault(value)
    if kind is float:
        return None if math.isfinite(value) else Fault("", f"{value}", "JSON has no such number: pass None")
    if kind is dict or kind is list or kind is tuple:
        if depth > defaults.MAX_JSON_DEPTH:
            return Fault("", f"nested over {defaults.MAX_JSON_DEPTH} deep", "flatten it, or pass an id")
        return _object_fault(value, depth) if kind is dict else _array_fault(value, depth)
    return Fault("", f"a {kind.__name__}", _remedy(value))


def _text_fault(text: str) -> Fault | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return Fault("", "text with a lone surrogate", 'clean it: text.encode("utf-8", "replace").decode()')
    return None


def _integer_fault(number: int) -> Fault | None:
    if number.bit_length() <= _MAX_INTEGER_BITS:
        return None
    return Fault("", f"an integer of {number.bit_length()} bits", "pass it as text: hex(value)")


def _array_fault(items: Sequence[Any], depth: int) -> Fault | None:
    for index, item in enumerate(items):
        if fault := find_fault(item, depth + 1):
            return fault.below(f"[{index}]")
    return None


def _object_fault(mapping: dict[Any, Any], depth: int) -> Fault | None:
    for key, value in mapping.items():
        if type(key) is not str:
            return Fault("", f"a dict with the key {key!r}", "a key must be a plain string: str(key)")
        if fault := (None if key.isascii() else _text_fault(key)) or find_fault(value, depth + 1):
            return fault.below(f".{key}" if key.isidentifier() else f"[{key!r}]")
    return None


_REMEDIES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (enum.Enum, "pass value.value"),
    (datetime, "pass value.isoformat() or value.timestamp()"),
    ((date, time), "pass value.isoformat()"),
    (timedelta, "pass value.total_seconds()"),
    ((Decimal, UUID, PurePath), "pass str(value)"),
    ((set, frozenset), "pass sorted(value) or list(value)"),
    ((bytes, bytearray, memoryview), "pass base64.b64encode(value).decode()"),
    (str, "pass str(value)"),
    (int, "pass int(value)"),
    (float, "pass float(value)"),
    (dict, "pass dict(value)"),
    ((list, tuple), "pass list(value)"),
)


def _remedy(value: object) -> str:
    """Say what to pass in place of `value`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "pass its id, or dataclasses.asdict(value)"
    for kinds, remedy in _REMEDIES:
        if isinstance(value, kinds):
            return remedy
    return "pass its id, and look it up inside the job"
