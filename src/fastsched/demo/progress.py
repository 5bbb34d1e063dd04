"""How far the demo is: a bar on a terminal, a line every tenth elsewhere, or nothing."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class Progress:
    """Told how many jobs have ended; `with` it, so that the terminal is put in order again."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._total = total
        self._quiet = quiet
        self._tenths = 0
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
        tenths = ended * 10 // self._total
        if tenths > self._tenths:
            self._tenths = tenths
            self.say(f"  {tenths * 10:3} %  {ended:,} of {self._total:,}")

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        elif not self._quiet:
            click.echo(line)


def _bar(total: int) -> tuple[Bar, TaskID]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("  jobs ended"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return bar, bar.add_task("", total=total)
