"""How far the demo is: a bar on a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_OF_MANY = 5_000
"""Jobs between two lines when nobody knows how many there will be."""


class Progress:
    """Told how many jobs have ended; `with` it, so that the terminal is put in order again."""

    def __init__(self, total: int | None, *, quiet: bool) -> None:
        """`total`: None when there will be more and more."""
        self._total = total
        self._quiet = quiet
        self._said = 0
        self._bar: Bar | None = None
        self._task: TaskID
        if not quiet and sys.stdout.isatty():
            self._bar, self._task = _bar(total)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, ended: int) -> None:
        """So many jobs have ended."""
        if self._bar is not None:
            self._bar.update(self._task, completed=ended)
            return
        part = ended // _OF_MANY if self._total is None else ended * 10 // self._total
        if part > self._said:
            self._said = part
            if self._total is None:
                self.say(f"  {ended:7,} jobs have ended")
            else:
                self.say(f"  {part * 10:3} %  {ended:,} of {self._total:,}")

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        elif not self._quiet:
            click.echo(line)


def _bar(total: int | None) -> tuple[Bar, TaskID]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("  jobs ended"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return bar, bar.add_task("", total=total)
