"""Where the demo plays: the store and its servers, how many workers, and what happens when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from fastsched.demo.faults import Faults, Steps


class Stage(ABC):
    """Enter it before use; on exit its servers are gone."""

    workers: ClassVar[tuple[str, ...]]
    """Names of the worker processes."""
    repeats: ClassVar[bool]
    """Whether the files are measured again and again until the plot is over."""
    look_every: ClassVar[float]
    """Seconds between looks at how far the workers are, if nothing else wakes the demo."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    @property
    @abstractmethod
    def title(self) -> str:
        """What keeps and carries the jobs, for people."""

    @property
    @abstractmethod
    def store_url(self) -> str:
        """For the demo itself."""

    def url_of(self, worker: str) -> str:
        """The store for a worker."""
        return self.store_url

    @abstractmethod
    def plot(self, faults: Faults, total: int) -> Steps:
        """What happens; `total`: the jobs of the first pass."""


class SqliteStage(Stage):
    """A SQLite file, two workers; one is killed half-way."""

    workers = ("first", "second")
    repeats = False
    look_every = 0.02

    def __init__(self, folder: Path) -> None:
        self._file = folder / "jobs.db"

    @property
    def title(self) -> str:
        return "SQLite"

    @property
    def store_url(self) -> str:
        return f"sqlite:///{self._file}"

    def plot(self, faults: Faults, total: int) -> Steps:
        yield from faults.runs(0.5, total)
        yield from faults.kill(within=10.0, settled=lambda worker: True)
