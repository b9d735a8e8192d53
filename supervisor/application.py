"""Importing the application, so that its jobs are known."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from jobd.client import registry, settings
from jobd.client.errors import JobDefinitionError
from jobd.worker.config import WorkerConfig

_prepared = False


class ApplicationError(Exception):
    """The application cannot be imported; the message is what its developer needs to see."""


def put_first_on_path(directory: Path) -> None:
    """Make `directory` the first place that imports look at."""
    text = str(directory)
    if not sys.path or sys.path[0] != text:
        sys.path.insert(0, text)


def prepare(config: WorkerConfig) -> int:
    """Set the client up as configured, then import the application, which may change that; returns how many jobs.

    In a process whose parent has done it already, nothing is done again. Raises ApplicationError.
    """
    global _prepared
    if not _prepared:
        settings.configure(redis_url=config.redis_url, namespace=config.namespace, timestamps=config.timestamps)
        load(config.require)
        _prepared = True
    return len(registry.names())


def load(modules: Sequence[str]) -> int:
    """Import `modules`; returns how many jobs are known then. Raises ApplicationError."""
    for name in modules:
        try:
            importlib.import_module(name)
        except JobDefinitionError as error:
            raise ApplicationError(f"{name}: {error}") from error
        except BaseException as error:
            raise ApplicationError(_explain(name, error)) from error
    return len(registry.names())


def _explain(module: str, error: BaseException) -> str:
    """What went wrong, with the traceback from the application's first frame on."""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        where = sys.path[0] or "the current directory"
        return f"cannot import {module}: there is no module {error.name} in {where} or among the installed packages"
    frames = error.__traceback__
    while frames is not None and _is_import_machinery(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    trace = "".join(traceback.format_exception(type(error), error, frames))
    return f"cannot import {module}: {type(error).__name__}: {error}\n{trace.rstrip()}"


def _is_import_machinery(filename: str) -> bool:
    return filename == __file__ or filename.startswith("<frozen importlib") or filename == importlib.__file__
