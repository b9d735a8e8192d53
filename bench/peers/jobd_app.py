"""The jobs of `effects.py` for jobd."""

from __future__ import annotations

import os

from effects import EFFECTS, QUEUE
from producer import main

import jobd

JOBS = {name: jobd.job(queue=QUEUE, name=name)(effect) for name, effect in EFFECTS.items()}

if __name__ == "__main__":
    jobd.configure(redis_url=os.environ["BENCH_URL"])
    main(
        {name: job.perform_async for name, job in JOBS.items()},
        lambda name, jobs: JOBS[name].perform_bulk(tuple(args) for args in jobs),
        lambda delay, name, args: JOBS[name].perform_in(delay, *args),
    )
