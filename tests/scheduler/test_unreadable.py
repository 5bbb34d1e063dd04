"""A row that nobody can read is set aside; its neighbours are not held up."""

from __future__ import annotations

import pytest
from clocks import PATIENCE

from fastsched import State


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"[1, 2]", b"[" * 100_000], ids=len)
def test_a_payload_that_cannot_be_read_strands_no_other_job(make, payload):
    scheduler = make(workers=2, stop_grace=0.5)
    ran = []
    job = scheduler.job(kind="job")(ran.append)
    jobs = [job.job(number) for number in range(20)]
    jobs[7] = jobs[7]._replace(payload=payload)
    handles = scheduler.enqueue_many(jobs)
    with scheduler:
        scheduler.wait_until_idle(PATIENCE)
    assert sorted(ran) == [number for number in range(20) if number != 7]
    letter = handles[7].job()
    assert letter.state is State.DEAD
    assert letter.failure.type == "PayloadError"
