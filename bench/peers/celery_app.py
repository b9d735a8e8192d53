"""The jobs of `effects.py` for Celery, its settings left as they are; no result backend, as nobody asks for results."""

from __future__ import annotations

import os

from celery import Celery
from effects import EFFECTS, QUEUE
from producer import main

app = Celery("bench", broker=os.environ["BENCH_URL"])
app.conf.task_default_queue = QUEUE
TASKS = {name: app.task(effect, name=name) for name, effect in EFFECTS.items()}

if __name__ == "__main__":
    main(
        {name: task.delay for name, task in TASKS.items()},
        later=lambda delay, name, args: TASKS[name].apply_async(args, countdown=delay),
    )
