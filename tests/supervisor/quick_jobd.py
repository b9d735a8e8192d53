"""The command `jobd` with some of its constants changed, and nothing else: `$JOBD_TEST_CONSTANTS` is JSON of
`{"module.NAME": value}`. So tests need not wait for what takes minutes in production.

What no constant reaches is changed by a module of the test's, `$JOBD_TEST_PATCH`, that is imported before `jobd` runs.
"""

from __future__ import annotations

import importlib
import json
import os

# They are changed before the command is imported: other modules take some of them over when they are imported.
for name, value in json.loads(os.environ.pop("JOBD_TEST_CONSTANTS", "{}")).items():
    module, _, constant = name.rpartition(".")
    found = importlib.import_module(module)
    assert hasattr(found, constant), f"there is no {name}"
    setattr(found, constant, value)
patch = os.environ.pop("JOBD_TEST_PATCH", "")
if patch:
    importlib.import_module(patch)
importlib.import_module("jobd.supervisor.cli").run()
