"""The directory in which jobd was started, by the name that was used: behind a symlink there may be new code by now."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from jobd.supervisor import application
from jobd.worker import log


def directory() -> Path:
    """The working directory: by the name in `$PWD`, if that leads there, which the kernel does not keep."""
    named = os.environ.get("PWD", "")
    try:
        if os.path.isabs(named) and os.path.samefile(named, os.curdir):
            return Path(named)
    except OSError:
        pass
    return Path.cwd()


def enter(path: Path) -> None:
    """Make `path`, as it is now, the working directory and the place where modules are looked for."""
    try:
        os.chdir(path)
    except OSError as error:
        hint = "it stays in the directory of before"
        log.event("home.lost", level=log.WARNING, directory=path, error=error.strerror, hint=hint)
    application.put_first_on_path(path)
    importlib.invalidate_caches()
