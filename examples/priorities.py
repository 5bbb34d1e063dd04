"""A hundred jobs of varying priority, run hottest first, with statistics as they go.

Run it: ``python examples/priorities.py``
"""

import random
import sys
import tempfile
from pathlib import Path

from fastsched import JobContext, Scheduler
from fastsched.retry import fixed

folder = tempfile.TemporaryDirectory(prefix="fastsched-example-")
# One worker, so that the order can be seen.
scheduler = Scheduler(f"sqlite:///{Path(folder.name) / 'jobs.db'}", workers=1)
started: list[int] = []


@scheduler.job(backoff=fixed(0.2))
def work(ctx: JobContext, number: int) -> None:
    """Take a few milliseconds; one job in ten fails the first time, as in life."""
    if ctx.attempt == 1:
        started.append(ctx.job.priority)
        if number % 10 == 0:
            raise ConnectionError("try me again")
    ctx.wait(0.005)


def show_statistics() -> None:
    now = scheduler.stats()
    print(
        f"scheduled {now.scheduled}  dispatched {now.dispatched}  completed {now.completed}  "
        f"failed {now.failed}  retried {now.retried}  expired {now.expired}  "
        f"waiting {now.queue_length}  active {now.workers_active}/{now.workers}"
    )


def main() -> None:
    chance = random.Random(7)  # noqa: S311
    scheduler.enqueue_many(
        work.options(priority=chance.randint(1, 9)).job(number) for number in range(100)
    )
    with scheduler:
        idle = False
        while not idle:
            show_statistics()
            try:
                scheduler.wait_until_idle(timeout=0.2, include_scheduled=True)
                idle = True
            except TimeoutError:
                pass
        show_statistics()
    in_order = started == sorted(started, reverse=True)
    print(f"from the highest priority down: {'yes' if in_order else 'NO'}")
    sys.exit(0 if in_order and scheduler.stats().completed == 100 else 1)


if __name__ == "__main__":
    main()
