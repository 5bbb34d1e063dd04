"""How answers are printed: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import click

from fastsched.cli.text import clean


def say(text: str = "", *, bold: bool = False) -> None:
    """A line on stdout."""
    click.echo(click.style(text, bold=True) if bold and colours() else text)


def say_json(value: Any, *, lines: bool = False) -> None:
    """A value as JSON, ASCII only; with `lines`, one value a line."""
    click.echo(json.dumps(value, indent=None if lines else 2))


def colours() -> bool:
    """Whether stdout is a terminal whose owner has nothing against colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table: by rich on a terminal, aligned text without cuts elsewhere. Numbers go right."""
    cells = [["-" if cell is None else clean(cell) for cell in row] for row in rows]
    right = [all(_is_number(row[i]) for row in cells) for i in range(len(columns))]
    if sys.stdout.isatty():
        _say_rich(columns, cells, right)
        return
    widths = [max(len(row[i]) for row in [columns, *cells]) for i in range(len(columns))]
    for row in [columns, *cells]:
        aligned = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        )
        say("  ".join(aligned).rstrip())


def say_facts(facts: Iterable[tuple[str, object]], *, err: bool = False) -> None:
    """Names and values, aligned; those without a value are left out."""
    known = [(name, clean(value)) for name, value in facts if value is not None]
    width = max(len(name) for name, _ in known)
    for name, value in known:
        click.echo(f"  {name.ljust(width)}  {value}", err=err)


def _say_rich(columns: Sequence[str], cells: list[list[str]], right: list[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold" if colours() else "")
    for position, name in enumerate(columns):
        justify: Literal["left", "right"] = "right" if right[position] else "left"
        table.add_column(name, justify=justify, no_wrap=position == 0, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "", 1).replace("/", "", 1).isdigit()
