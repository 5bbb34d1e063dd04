"""SQL kept in `.sql` files as named statements, and the numbered migrations.

A statement starts with a line ``-- name: its_name`` and uses ``:parameter`` for what it is given.
Both stores use the same names and parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with positional marks, and the names of what goes into them, in order."""

    name: str
    text: str
    parameters: tuple[str, ...]

    def values(self, /, **given: Any) -> tuple[Any, ...]:
        """The positional values for named ones; `KeyError` if one is missing."""
        return tuple(given[name] for name in self.parameters)


def load(file: str, mark: str) -> dict[str, Statement]:
    """The statements of a `.sql` file of this package, with `mark` in place of parameters."""
    text = (files(__package__) / file).read_text("utf-8")
    statements = {}
    for block in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
        name, _, body = block.partition("\n")
        code = re.sub(r"--[^\n]*", "", body).strip().rstrip(";")
        statements[name.strip()] = Statement(
            name.strip(),
            _PARAMETER.sub(mark, code),
            tuple(_PARAMETER.findall(code)),
        )
    return statements


def migrations(folder: str) -> list[tuple[int, str]]:
    """Number and text of each migration in a folder of this package, in order."""
    found = [
        (int(entry.name.split("_")[0]), entry.read_text("utf-8"))
        for entry in (files(__package__) / folder).iterdir()
        if entry.name.endswith(".sql")
    ]
    return sorted(found)
