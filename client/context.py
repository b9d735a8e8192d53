"""Context variables that travel with a job: taken when it is pushed, set again around its run.

Which variables those are stands in `settings.py`, as `jobd.carry` has set it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from jobd.client import arguments, options
from jobd.client.errors import ConfigError, UnserializableArgument

if TYPE_CHECKING:
    from jobd.client.call import RunningJob
    from jobd.client.middleware import ServerMiddleware

FIELD = "context"
"""The field of a payload in which values travel, each under its name."""
_BY_NAME = re.compile(rf"{FIELD}|cattr(_\d+)?")
"""Fields that hold several values: jobd's, and those of Ruby's CurrentAttributes."""
_FIELD_NAME = re.compile(r"[A-Za-z_]\w*")
_UNSET = object()


@dataclass(frozen=True, slots=True)
class Carried:
    """A context variable that travels in `field`, there under `name`, or as the whole of it when `name` is None."""

    variable: ContextVar[Any]
    field: str
    name: str | None

    @property
    def place(self) -> str:
        """Where it stands in a payload, for messages."""
        return self.field if self.name is None else f"{self.field}[{self.name!r}]"


def carried_as(variable: ContextVar[Any], name: str | None, field: str | None) -> Carried:
    """Return how `variable` travels, as `jobd.carry` was asked for it. Raises `ConfigError`."""
    if not isinstance(variable, ContextVar):
        raise ConfigError(f"carry({variable!r}): give a contextvars.ContextVar")
    if name is not None and not (isinstance(name, str) and name):
        raise ConfigError(f"carry({variable.name}, {name!r}): the name is a string that is not empty")
    if field is None or _BY_NAME.fullmatch(field):
        return Carried(variable, field or FIELD, name or variable.name)
    if not _FIELD_NAME.fullmatch(field) or field in options.NAMES:
        raise ConfigError(
            f"carry({variable.name}, field={field!r}): jobd uses that field, or it is no name; give one such as locale"
        )
    if name is not None:
        raise ConfigError(
            f"carry({variable.name}, {name!r}, field={field!r}): that field holds one value; give no name"
        )
    return Carried(variable, field, None)


def add(known: Sequence[Carried], new: Carried) -> tuple[Carried, ...]:
    """Return `known` and `new`. Raises `ConfigError` when another variable travels in its place."""
    if new in known:
        return tuple(known)
    if any(each.field == new.field and each.name == new.name for each in known):
        raise ConfigError(f"carry({new.variable.name}): another variable travels as {new.place}; give one another name")
    return (*known, new)


def is_set(carried: Sequence[Carried]) -> bool:
    """Whether one of the variables has a value here; a variable's default is not one."""
    now = copy_context()
    return any(each.variable in now for each in carried)


def put_into(payload: dict[str, Any], carried: Sequence[Carried]) -> None:
    """Put the values of this moment into `payload`; what stands there already stays.

    Raises `UnserializableArgument` when one cannot travel as JSON.
    """
    now = copy_context()
    for each in carried:
        if each.variable not in now:
            continue
        value = now[each.variable]
        _check(each, value, payload)
        if each.name is None:
            payload.setdefault(each.field, value)
        elif isinstance(values := payload.get(each.field, {}), dict):
            payload[each.field] = {each.name: value, **values}


def _check(each: Carried, value: object, payload: Mapping[str, Any]) -> None:
    if fault := arguments.find_fault(value):
        variable = f"the context variable {each.variable.name!r}"
        raise UnserializableArgument(
            f"{payload.get('class')}: {fault.described(variable)}, and what is carried travels as JSON; {fault.remedy}"
        )


def restoring(carried: Sequence[Carried]) -> ServerMiddleware:
    """Return what runs a job with the values of its payload, and leaves nothing of them behind."""
    fields = tuple(dict.fromkeys(each.field for each in carried))
    read = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    def restore(job: RunningJob, proceed: Callable[[], Any]) -> Any:
        given = {field: msgspec.json.decode(raw) for field, raw in read(job.raw).items() if field in fields}
        return _context_of(carried, given).run(proceed)

    return restore


def _context_of(carried: Sequence[Carried], given: Mapping[str, Any]) -> Context:
    """What is set here, less all that is carried, and the values of a payload."""
    values = {each.variable: value for each in carried if (value := _value(each, given)) is not _UNSET}
    here = copy_context()
    if all(each.variable in values or each.variable not in here for each in carried):
        context = here
    else:
        # A value cannot be taken out of a context, and without one in its payload a job must not see its caller's.
        gone = {each.variable for each in carried}
        context = Context()
        values = {**{variable: value for variable, value in here.items() if variable not in gone}, **values}
    for variable, value in values.items():
        context.run(variable.set, value)
    return context


def _value(each: Carried, given: Mapping[str, Any]) -> Any:
    held = given.get(each.field, _UNSET)
    if each.name is None or held is _UNSET:
        return held
    if isinstance(held, list):  # as Sidekiq 8 writes CurrentAttributes: pairs
        held = {pair[0]: pair[1] for pair in held if isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is str}
    return held.get(each.name, _UNSET) if isinstance(held, dict) else _UNSET
