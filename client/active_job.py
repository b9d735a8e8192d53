"""Arguments of jobs that Rails has pushed through ActiveJob, as Python values.

ActiveJob encodes what JSON does not have as objects with keys that begin with `_aj_`. Only the arguments are decoded;
the payload stays as it is. Which job it is for, and that an argument cannot be decoded, is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import msgspec

from jobd.client.errors import UndecodableArgument
from jobd.client.payload import Entry


@dataclass(frozen=True, slots=True)
class GlobalID:
    """A record of a Rails application: `gid://app/User/7`.

    `id` is text; the parts of a composite one are separated by `/`.
    """

    uri: str
    app: str
    model: str
    id: str


@dataclass(frozen=True, slots=True)
class Range:
    """A range of Ruby: `begin..end`, with `exclude_end` `begin...end`. None: no bound on that side."""

    begin: Any
    end: Any
    exclude_end: bool


def unwrapped(entry: Entry) -> Entry:
    """Return `entry` with its arguments decoded; marked keywords of the last one become those of the call.

    Raises `UndecodableArgument`, which names the argument by its place.
    """
    args = [_decode(value, f"arguments[{place}]") for place, value in enumerate(entry.args)]
    last = entry.args[-1] if entry.args else None
    if isinstance(last, dict) and "_aj_ruby2_keywords" in last and isinstance(args[-1], dict):
        return msgspec.structs.replace(entry, args=args[:-1], kwargs={**args[-1], **entry.kwargs})
    return msgspec.structs.replace(entry, args=args)


def _decode(value: Any, place: str) -> Any:
    if isinstance(value, list):
        return [_decode(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "_aj_globalid" in value:
        return _global_id(value["_aj_globalid"], place)
    if "_aj_serialized" in value:
        return _serialized(value, place)
    kept = {key: item for key, item in value.items() if key not in _MARKS}
    if unknown := next((key for key in kept if key.startswith("_aj_")), None):
        raise UndecodableArgument(f"{place} has the key {unknown!r}, which jobd does not know")
    return {key: _decode(item, f"{place}[{key!r}]") for key, item in kept.items()}


_MARKS = frozenset({"_aj_symbol_keys", "_aj_ruby2_keywords", "_aj_hash_with_indifferent_access"})
"""Say which keys were symbols in Ruby; here all are strings."""


def _global_id(uri: object, place: str) -> GlobalID:
    try:
        parts = urlsplit(uri) if isinstance(uri, str) else None
    except ValueError:  # such as gid://[app/User/7
        parts = None
    model, _, key = parts.path.lstrip("/").partition("/") if parts else ("", "", "")
    if parts is None or parts.scheme != "gid" or not (parts.netloc and model and key):
        raise UndecodableArgument(f"{place} is no global id: {uri!r}; one looks like gid://app/User/7")
    return GlobalID(str(uri), parts.netloc, unquote(model), unquote(key))


def _serialized(value: Mapping[str, Any], place: str) -> Any:
    name = value["_aj_serialized"]
    decoder = _DECODERS.get(name) if isinstance(name, str) else None
    if decoder is None:
        raise UndecodableArgument(f"{place} was encoded by {name!r}, which jobd does not know; pass plain JSON instead")
    try:
        return decoder(value, place)
    except (KeyError, TypeError, ValueError, OverflowError, InvalidOperation, OSError) as error:
        if isinstance(error, UndecodableArgument):
            raise
        raise UndecodableArgument(f"{place} cannot be decoded: {dict(value)!r} ({error!r})") from None


def _moment(value: Mapping[str, Any], place: str) -> datetime:
    moment = datetime.fromisoformat(value["value"])
    if moment.tzinfo is None:
        raise UndecodableArgument(f"{place} is a time without a zone: {value['value']!r}")
    return moment


def _zoned(value: Mapping[str, Any], place: str) -> datetime:
    moment, zone = _moment(value, place), value.get("time_zone")
    return moment.astimezone(ZoneInfo(zone)) if zone is not None else moment


def _duration(value: Mapping[str, Any], place: str) -> timedelta:
    seconds = _decode(value["value"], place)
    return timedelta(seconds=float(seconds) if isinstance(seconds, Decimal) else seconds)


def _range(value: Mapping[str, Any], place: str) -> Range:
    begin, end = (_decode(value[side], f"{place}.{side}") for side in ("begin", "end"))
    return Range(begin, end, value["exclude_end"] is True)


def _text(value: Mapping[str, Any], place: str) -> str:
    text = value["value"]
    if not isinstance(text, str):
        raise UndecodableArgument(f"{place} is {text!r} where a name is expected")
    return text


_PREFIX = "ActiveJob::Serializers::"
_DECODERS: Mapping[str, Callable[[Mapping[str, Any], str], Any]] = {
    f"{_PREFIX}TimeSerializer": _moment,
    f"{_PREFIX}DateTimeSerializer": _moment,
    f"{_PREFIX}TimeWithZoneSerializer": _zoned,
    f"{_PREFIX}DateSerializer": lambda value, place: date.fromisoformat(value["value"]),
    f"{_PREFIX}DurationSerializer": _duration,
    f"{_PREFIX}SymbolSerializer": _text,
    f"{_PREFIX}ModuleSerializer": _text,
    f"{_PREFIX}RangeSerializer": _range,
    f"{_PREFIX}BigDecimalSerializer": lambda value, place: Decimal(_text(value, place)),
}
