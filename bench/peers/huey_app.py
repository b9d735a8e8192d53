"""The jobs of `effects.py` for Huey, its settings left as they are."""

from __future__ import annotations

import os

from effects import EFFECTS, QUEUE
from huey import RedisHuey
from producer import main

huey = RedisHuey(QUEUE, url=os.environ["BENCH_URL"])
TASKS = {name: huey.task(name=name)(effect) for name, effect in EFFECTS.items()}

if __name__ == "__main__":
    main(TASKS, later=lambda delay, name, args: TASKS[name].schedule(args=args, delay=delay))
