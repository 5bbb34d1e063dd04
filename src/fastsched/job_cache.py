"""Where look-ups of ended jobs may be answered without the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fastsched.job import Job


class JobCache(Protocol):
    """Keeps what was read of ended jobs; never fails, never waits long."""

    def get(self, job_id: str) -> Job | None:
        """The job, if it is kept."""

    def put(self, job: Job) -> None:
        """Keep it, if it has ended."""

    def forget(self, ids: Sequence[str]) -> None:
        """These are not what they were."""

    def close(self) -> None:
        """Disconnect."""


class NoCache:
    """Keeps nothing."""

    def get(self, job_id: str) -> Job | None:
        return None

    def put(self, job: Job) -> None:
        pass

    def forget(self, ids: Sequence[str]) -> None:
        pass

    def close(self) -> None:
        pass
