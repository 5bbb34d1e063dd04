"""Nodes come, go and die; their jobs stay, and nobody is blamed for what he did not do."""

from __future__ import annotations

import pytest
from builders import new_job

from fastsched import State
from fastsched.ids import new_id
from fastsched.job import ClaimedJob
from fastsched.outcomes import DONE, RELEASE, Dead, Retry

CRASHES = 3


def begin(lab, node, *jobs: ClaimedJob):
    """The node's workers begin to run jobs."""
    for slot, job in enumerate(jobs):
        lab.presences[node].enter(slot, job)


def test_a_registered_node_is_listed_with_what_it_said(lab):
    first, second = lab.node(workers=4), lab.node(workers=7)
    nodes = {info.id: info for info in lab.store.nodes()}
    assert nodes.keys() == {first, second}
    assert (nodes[second].host, nodes[second].pid, nodes[second].workers) == ("here", 1, 7)
    assert nodes[second].started_at == pytest.approx(lab.store.clock.now(), abs=5)
    assert nodes[second].alive


def test_a_living_node_keeps_its_place(lab, node):
    other = lab.mortal_node()
    assert lab.presences[node].holds()
    tended = lab.store.tend(node)
    assert (tended.stands, tended.dead_nodes) == (True, False)
    assert lab.store.rescue(CRASHES).nodes == []
    assert {info.id for info in lab.store.nodes()} == {node, other}


def test_tending_tells_whether_someone_wrote_meanwhile(lab, node):
    lab.store.tend(node)
    assert not lab.store.tend(node).news
    lab.add_one()
    assert lab.store.tend(node).news


# Leaving -----------------------------------------------------------------------------------------


def test_a_node_that_leaves_gives_its_jobs_back_uncharged(lab, node):
    ids = lab.add(new_job(), new_job(delay=50), new_job())
    ready, soon, cancelled = ids
    assert len(lab.claim(node, horizon=100)) == 3
    lab.store.cancel([cancelled])
    other = lab.node()
    not_mine = lab.claimed(other)
    lab.store.leave(node)
    assert [lab.state(job_id) for job_id in (ready, soon, cancelled, not_mine.id)] == [
        State.READY,
        State.SCHEDULED,
        State.CANCELLED,
        State.CLAIMED,
    ]
    assert (lab.job(ready).attempt, lab.job(ready).crashes) == (0, 0)
    assert [info.id for info in lab.store.nodes()] == [other]
    assert lab.total("cancelled") == 1
    assert not lab.store.tend(node).stands


def test_who_has_left_is_given_no_jobs_and_ends_none(lab, node):
    job = lab.claimed(node)
    lab.store.leave(node)
    assert lab.claim(node) == []
    assert not lab.end(job, node, DONE)
    assert lab.state(job.id) is State.READY


def test_leaving_twice_or_unknown_is_no_error(lab, node):
    lab.store.leave(node)
    lab.store.leave(node)
    lab.store.leave(new_id())


# Dying -------------------------------------------------------------------------------------------


def test_the_jobs_of_a_dead_node_are_taken_back_uncharged(lab, node):
    doomed = lab.mortal_node()
    ready = lab.claimed(doomed)
    soon = lab.add_one(delay=50)
    lab.claim(doomed, horizon=100)
    mine = lab.claimed(node)
    lab.kill(doomed)
    assert lab.store.tend(node).dead_nodes
    assert not next(info for info in lab.store.nodes() if info.id == doomed).alive
    rescued = lab.store.rescue(CRASHES)
    assert (list(rescued.nodes), rescued.released) == ([doomed], 2)
    assert (list(rescued.charged), list(rescued.dead)) == ([], [])
    assert [lab.state(job_id) for job_id in (ready.id, soon, mine.id)] == [
        State.READY,
        State.SCHEDULED,
        State.CLAIMED,
    ]
    assert (lab.job(ready.id).attempt, lab.job(ready.id).crashes) == (0, 0)
    assert lab.total("rescued") == 2
    assert [info.id for info in lab.store.nodes()] == [node]
    assert not lab.store.tend(node).dead_nodes
    assert lab.store.rescue(CRASHES).nodes == []


def test_what_a_dead_node_says_afterwards_is_stale(lab, node):
    doomed = lab.mortal_node()
    job = lab.claimed(doomed)
    lab.kill(doomed)
    lab.store.rescue(CRASHES)
    assert not lab.end(job, doomed, DONE)
    (again,) = lab.claim(node)
    assert again.claim_no == job.claim_no + 1
    assert not lab.end(job, doomed, Dead("late"))
    assert lab.end(again, node, DONE)
    assert lab.claim(doomed) == []


def test_a_job_of_a_dead_node_that_was_to_be_cancelled_is_cancelled(lab, node):
    doomed = lab.mortal_node()
    job = lab.claimed(doomed)
    lab.store.cancel([job.id])
    lab.kill(doomed)
    lab.store.rescue(CRASHES)
    assert lab.state(job.id) is State.CANCELLED
    assert lab.total("cancelled") == 1


def test_of_jobs_that_ran_together_nobody_is_charged_and_each_runs_alone_next(lab, node):
    doomed = lab.mortal_node()
    jobs = [lab.claimed(doomed) for _ in range(3)]
    begin(lab, doomed, *jobs)
    lab.kill(doomed)
    rescued = lab.store.rescue(CRASHES)
    assert (list(rescued.charged), rescued.released) == ([], 3)
    assert [lab.job(job.id).crashes for job in jobs] == [0, 0, 0]
    assert all(job.suspect for job in lab.claim(node))
    lab.store.leave(node)


def test_a_job_that_kills_its_process_is_buried_after_three_crashes(lab):
    job_id = lab.add_one()
    bystander = lab.add_one(priority=-1)
    deaths = 0
    while lab.state(job_id) is not State.DEAD:
        assert deaths < CRASHES + 1
        doomed = lab.mortal_node()
        poison, waiting = lab.claim(doomed)
        assert (poison.id, waiting.id) == (job_id, bystander)
        begin(lab, doomed, poison)
        lab.kill(doomed)
        rescued = lab.store.rescue(CRASHES)
        deaths += 1
        assert lab.job(job_id).crashes in (deaths, deaths - 1)
    assert list(map(tuple, rescued.dead)) == [(job_id, "work", "default", 1)]
    buried = lab.job(job_id)
    assert buried.crashes == CRASHES
    assert buried.reason.startswith("crashed")
    assert buried.node is None
    assert (lab.total("dead"), lab.total("crashed")) == (1, CRASHES)
    assert (lab.job(bystander).crashes, lab.state(bystander)) == (0, State.READY)
    lab.store.requeue([job_id])
    assert (lab.job(job_id).crashes, lab.job(job_id).attempt) == (0, 0)
    suspects = {job.id for job in lab.claim(lab.node()) if job.suspect}
    assert suspects == (set() if lab.knows_what_ran else {bystander})


def test_a_suspect_that_was_given_back_and_waits_again_is_not_charged(lab, node):
    job_id = lab.add_one()
    before, doomed = lab.mortal_node(), lab.mortal_node()
    begin(lab, before, *lab.claim(before))
    lab.kill(before)
    lab.store.rescue(CRASHES)
    charged = lab.job(job_id).crashes
    (job,) = lab.claim(doomed)
    assert job.suspect
    begin(lab, doomed, job)
    lab.presences[doomed].leave(0)
    assert lab.end(job, doomed, RELEASE)
    (again,) = lab.claim(doomed)
    assert again.suspect
    lab.kill(doomed)
    assert list(lab.store.rescue(CRASHES).charged) == []
    assert lab.job(job_id).crashes == charged


def test_an_orderly_failure_clears_the_crashes(lab, node):
    job_id = lab.add_one()
    for _ in range(2):
        doomed = lab.mortal_node()
        begin(lab, doomed, *lab.claim(doomed))
        lab.kill(doomed)
        lab.store.rescue(CRASHES)
    assert lab.job(job_id).crashes > 0
    (job,) = lab.claim(node)
    assert job.suspect
    assert lab.end(job, node, Retry(0))
    assert lab.job(job_id).crashes == 0
    assert not lab.claim(node)[0].suspect


def test_who_was_cleared_is_not_charged_with_a_later_crash(lab):
    first, second = lab.mortal_node(), lab.mortal_node()
    begin(lab, first, lab.claimed(first))
    lab.kill(first)
    lab.store.rescue(CRASHES)
    (suspect,) = lab.claim(second)
    assert suspect.suspect
    begin(lab, second, suspect)  # alone
    assert lab.end(suspect, second, Retry(0))
    again, other = lab.claim(second)[0], lab.claimed(second)
    assert not again.suspect
    begin(lab, second, other, again)
    before = lab.job(again.id).crashes
    lab.kill(second)
    assert list(lab.store.rescue(CRASHES).charged) == []
    assert (lab.job(again.id).crashes, lab.job(other.id).crashes) == (before, 0)


def test_a_job_that_had_ended_when_its_process_died_is_not_charged(lab):
    doomed = lab.mortal_node()
    job = lab.claimed(doomed)
    begin(lab, doomed, job)
    assert lab.end(job, doomed, Dead("d"))
    lab.kill(doomed)
    rescued = lab.store.rescue(CRASHES)
    assert (list(rescued.charged), rescued.released) == ([], 0)
    assert lab.job(job.id).crashes == 0


def test_a_job_that_had_stopped_running_is_not_charged(lab):
    doomed = lab.mortal_node()
    job = lab.claimed(doomed)
    begin(lab, doomed, job)
    lab.presences[doomed].leave(0)
    lab.kill(doomed)
    assert list(lab.store.rescue(CRASHES).charged) == []
    assert lab.claim(lab.node())[0].suspect is not lab.knows_what_ran


def test_several_dead_nodes_are_rescued_at_once(lab):
    nodes = [lab.mortal_node() for _ in range(3)]
    for node in nodes:
        lab.claimed(node)
        lab.kill(node)
    rescued = lab.store.rescue(CRASHES)
    assert sorted(rescued.nodes) == sorted(nodes)
    assert rescued.released == 3


# Reconciling -------------------------------------------------------------------------------------


def test_what_a_node_holds_without_knowing_is_given_back(lab, node):
    known, forgotten, cancelled = (lab.claimed(node) for _ in range(3))
    other = lab.claimed(lab.node())
    lab.store.cancel([cancelled.id])
    assert lab.store.reconcile(node, frozenset({known.id})) == 2
    assert [lab.state(job.id) for job in (known, forgotten, cancelled, other)] == [
        State.CLAIMED,
        State.READY,
        State.CANCELLED,
        State.CLAIMED,
    ]
    assert lab.job(forgotten.id).attempt == 0
    assert lab.total("cancelled") == 1
    assert lab.store.reconcile(node, frozenset({known.id, new_id()})) == 0
