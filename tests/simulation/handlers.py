"""What handlers do in a simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastsched.context import JobContext
from fastsched.errors import JobInterrupt, JobTimeout, StoreError
from fastsched.handler import Handler, make_handler
from fastsched.outcomes import Cancel, Retry, Snooze
from fastsched.retry import fixed
from simulation.plan import Work

if TYPE_CHECKING:
    from simulation.cluster import Place

KIND = "act"


class Broken(Exception):
    """What a handler raises that is to fail."""


def make_act(place: Place) -> Handler:
    """The handler for all jobs, as the present process of a place runs it."""
    cluster, process = place.cluster, place.process

    def act(ctx: JobContext, what: str, *facts: Any) -> Any:
        me = {"id": ctx.id, "claim_no": ctx.claim.claim_no}
        cluster.note(
            "start",
            process,
            attempt=ctx.attempt,
            due=ctx.job.due_at,
            deadline=ctx.job.deadline,
            **me,
        )
        outcome = "stopped"
        try:
            value = DEEDS[what](place, ctx, *facts)
            outcome = _outcome_of(value)
        except JobTimeout:
            outcome = "failed"
            raise
        except JobInterrupt:
            raise
        except StoreError:
            outcome = "unknown" if what == "effect" else "failed"
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            cluster.note("end", process, outcome=outcome, **me)
        return value

    return make_handler(act, {"kind": KIND, "backoff": fixed(0.5)})


def _outcome_of(value: Any) -> str:
    match value:
        case Snooze():
            return "snoozed"
        case Retry():
            return "failed"
        case Cancel():
            return "stopped"
    return "done"


def _take(place: Place, ctx: JobContext, seconds: float) -> None:
    place.world.work(seconds)


def _effect(place: Place, ctx: JobContext, seconds: float) -> None:
    place.world.work(seconds)
    with ctx.transaction() as written:
        written.append((ctx.id, ctx.claim.claim_no))
        place.cluster.note("committing", place.process, id=ctx.id, claim_no=ctx.claim.claim_no)


def _fail(place: Place, ctx: JobContext, seconds: float, times: int) -> None:
    place.world.work(seconds)
    if ctx.attempt <= times:
        raise Broken(f"attempt {ctx.attempt}")


def _snooze(place: Place, ctx: JobContext, times: int, delay: float) -> Snooze | None:
    return Snooze(delay) if ctx.claim.claim_no <= times else None


def _retry(place: Place, ctx: JobContext, times: int, delay: float) -> Retry | None:
    return Retry(delay) if ctx.attempt <= times else None


def _give_up(place: Place, ctx: JobContext) -> Cancel:
    return Cancel("not wanted")


def _overrun(place: Place, ctx: JobContext, manner: str, seconds: float) -> None:
    """Take longer than the timeout, and look for it, feel it, or be deaf."""
    if manner == "asks":
        ctx.wait(seconds)
    elif manner == "feels":
        place.world.work(seconds)
    else:
        place.world.sleep(seconds)
    ctx.check()


def _poison(place: Place, ctx: JobContext) -> None:
    place.world.work(0.01)
    place.crash(back=0.5)


def _enqueue(place: Place, ctx: JobContext, children: int) -> None:
    ids = [f"{ctx.id}.{ctx.claim.claim_no}.{n}" for n in range(children)]
    place.offer([(job_id, Work(("take", 0.01))) for job_id in ids])


DEEDS: dict[str, Callable[..., Any]] = {
    "take": _take,
    "effect": _effect,
    "fail": _fail,
    "snooze": _snooze,
    "retry": _retry,
    "give up": _give_up,
    "overrun": _overrun,
    "poison": _poison,
    "enqueue": _enqueue,
}
