"""Effects in a transaction of the store are committed with the end of their run, or not at all."""

from __future__ import annotations

import contextlib

import pytest

from fastsched import Claim, JobStopped

pytestmark = pytest.mark.parametrize("lab", ["sqlite", "postgres"], indirect=True)
"""Those whose effects are SQL."""


@pytest.fixture
def count(lab, node):
    """How many effects there are."""
    make = lab.claimed(node)
    with lab.store.effects(Claim(make.id, node, make.claim_no)) as db:
        db.execute("CREATE TABLE effects (n integer)")

    def count() -> int:
        look = lab.claimed(node)
        with lab.store.effects(Claim(look.id, node, look.claim_no)) as db:
            return db.execute("SELECT count(*) FROM effects").fetchone()[0]

    return count


def add(lab, claim):
    with lab.store.effects(claim) as db:
        db.execute("INSERT INTO effects VALUES (1)")


def test_the_holder_of_a_claim_commits_its_effects_and_is_done(lab, node, count):
    job = lab.claimed(node)
    add(lab, Claim(job.id, node, job.claim_no))
    assert lab.state(job.id) is None
    assert count() == 1


def test_who_does_not_hold_the_claim_leaves_no_effect(lab, node, count):
    job = lab.claimed(node)
    stranger = lab.node()
    for claim in (
        Claim(job.id, node, job.claim_no + 1),
        Claim(job.id, node, job.claim_no - 1),
        Claim(job.id, stranger, job.claim_no),
    ):
        with pytest.raises(JobStopped):
            add(lab, claim)
    assert lab.job(job.id).node == node
    assert count() == 0


def test_a_block_that_raises_leaves_no_effect_and_the_job_as_it_was(lab, node, count):
    job = lab.claimed(node)
    with contextlib.suppress(ZeroDivisionError), lab.store.effects(Claim(job.id, node, 1)) as db:
        db.execute("INSERT INTO effects VALUES (1)")
        raise ZeroDivisionError
    assert lab.job(job.id).node == node
    assert count() == 0
