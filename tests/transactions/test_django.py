"""Jobs inside the transactions of a Django program, in a process of its own: Django is global."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from urllib.parse import parse_qs, urlsplit

PROGRAM = """
    import json, sys
    import django
    from django.conf import settings

    url, database = sys.argv[1], json.loads(sys.argv[2])
    database["ENGINE"] = "django.db.backends.postgresql"
    settings.configure(DATABASES={"default": database})
    django.setup()
    from django.db import connection, transaction
    from fastsched import ConfigurationError, Scheduler

    scheduler = Scheduler(url, workers=1)
    job = scheduler.job(kind="job")(lambda: None)
    scheduler.store_stats()

    def accepted():
        return scheduler.store_stats().accepted

    try:
        scheduler.enqueue(job.job(), connection=connection)
    except ConfigurationError:
        print("refused in autocommit mode")

    try:
        with transaction.atomic():
            scheduler.enqueue(job.job(), connection=connection)
            assert accepted() == 0
            raise ZeroDivisionError
    except ZeroDivisionError:
        print("rolled back:", accepted())

    with transaction.atomic():
        scheduler.enqueue(job.job(), connection=connection)
        assert accepted() == 0
    print("committed:", accepted())

    with scheduler.transaction(connection):
        job.enqueue()
        job.enqueue()
        assert accepted() == 1
    print("by scheduler.transaction:", accepted())

    with scheduler:
        scheduler.wait_until_idle(10)
        with transaction.atomic():
            handle = scheduler.enqueue(job.job(), connection=connection)
        print("woken:", handle.wait(10))
    print("run:", scheduler.store_stats().done)
"""


def test_django_programs_enqueue_in_their_transactions(pg_url: str) -> None:
    parts = urlsplit(pg_url)
    where = {name: values[0] for name, values in parse_qs(parts.query).items()}
    database = {
        "NAME": parts.path[1:], "USER": "postgres", "HOST": where["host"], "PORT": where["port"],
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), pg_url, json.dumps(database)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "refused in autocommit mode",
        "rolled back: 0",
        "committed: 1",
        "by scheduler.transaction: 3",
        "woken: done",
        "run: 4",
    ]
