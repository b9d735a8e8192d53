"""Which part may import which, and what `import jobd` costs an application."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

import jobd

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "client": {"client"},
    "worker": {"client", "worker"},
    "supervisor": {"client", "worker", "supervisor", "web"},
    "contrib": {"client", "contrib"},
    "web": {"client", "web"},
    "jobd": {"client", "worker"},  # the worker only when one of its names is asked for
    "__main__": {"supervisor"},
}
PARTS = ("client", "worker", "supervisor", "contrib", "web")
BY_FOLDER = re.compile(rf"^\s*(?:from\s+\.|(?:from|import)\b.*(?<![.\w])(?:{'|'.join(PARTS)})\b)", re.MULTILINE)
"""What an import by a folder's name, or a relative one, looks like; some that are none do as well."""
BESIDES = {"pytest_plugin.py": {"jobd.supervisor.store", "jobd.supervisor.store.Store"}}
"""What one file may import beyond its part: the store of tests is the one that `jobd` runs."""
NOT_FOR_CLIENTS = {"click", "yaml", "psutil", "prometheus_client", "setproctitle", "daemon", "cronsim"}
HEAVY_BY_RIGHT = {"cron_expression.py": {"cronsim"}}
"""Modules of the client that may, inside of functions: what only some applications ask for."""


def modules_imported(tree: ast.AST) -> Iterator[str]:
    """The full names of all that `tree` imports, names out of a package included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(part: str) -> list[Path]:
    """The modules of a part, or of another folder; `python -m jobd` is a part of its own."""
    if part in ("jobd", "__main__"):
        return [path for path in (ROOT / "jobd").glob("*.py") if (path.stem == "__main__") == (part == "__main__")]
    return sorted((ROOT / part).rglob("*.py"))


def wrong_imports(source: str, folder: str, allowed: Set[str] = frozenset()) -> list[str]:
    """The imports in `source`, a module of `folder`, which point the wrong way; `allowed` may be heavy."""
    wrong = []
    for name in modules_imported(ast.parse(source)):
        first, _, rest = name.partition(".")
        part = rest.partition(".")[0]
        bare = first in PARTS
        against = first == "jobd" and part in PARTS and part not in MAY_IMPORT[folder]
        heavy = folder == "client" and first in NOT_FOR_CLIENTS - allowed
        if bare or against or heavy:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_one_way(folder: str) -> None:
    assert sources(folder)
    wrong = {
        str(path): set(wrong_imports(path.read_text(), folder, HEAVY_BY_RIGHT.get(path.name, set())))
        - BESIDES.get(path.name, set())
        for path in sources(folder)
    }
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("from client.keys import Keys", "worker"),
        ("import client", "jobd"),
        ("from jobd.worker import config", "client"),
        ("from jobd import worker", "client"),
        ("def f():\n    import jobd.supervisor.cli", "worker"),
        ("import click", "client"),
        ("from jobd.worker import log", "web"),
        ("from jobd.web import app", "client"),
    ],
)
def test_an_import_against_the_direction_is_found(source: str, folder: str) -> None:
    assert wrong_imports(source, folder)


@pytest.mark.parametrize(
    "source", ["from client.keys import Keys", "import os, web", "def f():\n    import worker.log", "from . import a"]
)
def test_an_import_by_a_folders_name_is_seen_at_a_glance(source: str) -> None:
    assert BY_FOLDER.search(source)
    assert not BY_FOLDER.search("import jobd.client.keys\nfrom jobd.web.site import PAGES")


@pytest.mark.parametrize("folder", ["tests", "examples", "bench"])
def test_nobody_imports_the_parts_by_their_folders_names(folder: str) -> None:
    for path in sources(folder):
        text = path.read_text()
        # Most are told at a glance: to read hundreds of files as Python takes seconds.
        names = modules_imported(ast.parse(text)) if BY_FOLDER.search(text) else ()
        assert not [name for name in names if name.partition(".")[0] in PARTS], path


def test_importing_jobd_loads_neither_redis_nor_the_worker_nor_the_commands_libraries() -> None:
    code = "import jobd, sys; print(*sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.split())
    assert "jobd.client.push" in loaded
    assert not loaded & {"redis", "asyncio", "jobd.worker", "jobd.supervisor", "jobd.web", *NOT_FOR_CLIENTS}


def test_every_public_name_is_there() -> None:
    assert jobd.__version__.count(".") >= 2
    for name in jobd.__all__:
        assert getattr(jobd, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'perform'"):
        jobd.perform  # noqa: B018 - the access is what is tested
