"""The program whose processes are in the storm: see `durability.program`, whose options these are.

python -m chaos.program FOLDER ROLE [OPTION=VALUE ...]
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from durability.jobs import say
from durability.program import log, settings, worker

from chaos.jobs import ChaosJobs


def producer(jobs: ChaosJobs) -> None:
    """Enqueue what it is told to: how many, in how many seconds, how long ones, from which seed."""
    for line in sys.stdin:
        count, seconds, most_ms, seed = line.split()
        jobs.stream(int(count), float(seconds), float(most_ms), random.Random(int(seed)))
        say("streamed")


def main(folder: str, role: str, *options: str) -> None:
    log()
    jobs = ChaosJobs(Path(folder), role, **settings(*options))
    {"worker": worker, "producer": producer}[role](jobs)


if __name__ == "__main__":
    main(*sys.argv[1:])
