"""A job that fails until its attempts are used up, and how it gets another chance.

Run it: ``python examples/dead_letters.py``
"""

import tempfile
from pathlib import Path

from fastsched import JobContext, Scheduler
from fastsched.retry import fixed

folder = tempfile.TemporaryDirectory(prefix="fastsched-example-")
scheduler = Scheduler(f"sqlite:///{Path(folder.name) / 'jobs.db'}")
mailbox = Path(folder.name) / "mailbox"


@scheduler.job(max_attempts=3, backoff=fixed(0.1), give_up_on=ValueError)
def deliver(ctx: JobContext, letter: str) -> None:
    """Needs a mailbox, which is not there yet."""
    print(f"  attempt {ctx.attempt} of {ctx.max_attempts}: {letter}")
    if not letter:
        raise ValueError("an empty letter")  # no attempt will cure that
    with (mailbox / "letters").open("a") as file:
        file.write(f"{letter}\n")


def main() -> None:
    with scheduler:
        letter, empty = deliver.enqueue("hello"), deliver.enqueue("")
        print(f"the letter is {letter.wait()}, the empty one is {empty.wait()}")
        for job in scheduler.dead_letters():
            print(f"  {job.reason}: {job.failure}")

        mailbox.mkdir()  # mend the cause, then have the job tried again
        scheduler.requeue(letter.id)
        print(f"after requeue the letter is {letter.wait()}")
        print(f"discarded {len(scheduler.discard(empty.id))}")


if __name__ == "__main__":
    main()
