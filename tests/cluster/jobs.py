"""The jobs of the durability tests, and those that only PostgreSQL makes interesting."""

from __future__ import annotations

from pathlib import Path

from durability.jobs import Jobs

from fastsched import JobContext


class ClusterJobs(Jobs):
    """Jobs on one PostgreSQL, in any process of the cluster."""

    def __init__(self, folder: Path, name: str, **settings: float | str) -> None:
        super().__init__(folder, name, **settings)  # type: ignore[arg-type]
        self.book = self.scheduler.job(kind="book", backoff=lambda *_: 0.05)(self._book)

    def _book(self, ctx: JobContext, ms: float) -> None:
        """Its effect and its end are one transaction; that it ends is noted before the commit."""
        with ctx.transaction() as db, self._noted(ctx):
            db.execute("INSERT INTO booked VALUES (%s, %s)", (ctx.id, ctx.claim.claim_no))
            ctx.wait(ms / 1000)
