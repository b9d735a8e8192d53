"""The jobs that this process knows, by their name on the wire.

A worker runs only what is registered here; nothing is ever imported by a name out of a payload.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobd.client.errors import JobDefinitionError
from jobd.client.policies import Policies


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a job is defined."""

    module: str
    qualname: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}.{self.qualname} ({self.file}:{self.line})"

    def is_same_code(self, other: Origin) -> bool:
        """Whether `other` is this definition, executed again (a reloaded module may have moved lines)."""
        return (self.module, self.qualname, self.file) == (other.module, other.qualname, other.file)


@dataclass(frozen=True, slots=True)
class Handler:
    """What runs the jobs of one name.

    `options` are the job's own, without the defaults under all; `policies` what it says about its errors.
    """

    name: str
    options: Mapping[str, Any]
    target: Callable[..., Any]
    signature: inspect.Signature
    origin: Origin
    policies: Policies = field(default_factory=Policies, compare=False)

    def run(self, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call the function, or `perform` of a new instance, and return what it returns."""
        return self.target(*args, **kwargs)


_handlers: dict[str, Handler] = {}
_lock = threading.Lock()


def register(handler: Handler) -> None:
    """Make `handler` the one of its name.

    Raises `JobDefinitionError` when another definition has the name; the same one may come again,
    as it does when its module is reloaded.
    """
    with _lock:
        known = _handlers.get(handler.name)
        if known is not None and not known.origin.is_same_code(handler.origin):
            raise JobDefinitionError(
                f"two jobs are named {handler.name!r}: {known.origin} and {handler.origin}; "
                f"give one of them another name with name="
            )
        _handlers[handler.name] = handler


def lookup(name: str) -> Handler | None:
    """Return the handler of the jobs named `name`, or None when this process has none."""
    return _handlers.get(name)


def names() -> list[str]:
    """Return the names of all registered jobs, sorted."""
    return sorted(_handlers)
