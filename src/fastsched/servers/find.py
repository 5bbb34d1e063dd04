"""Where a server's programs are: the place given, a package from PyPI, or this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fastsched.errors import FastschedError


class ServerMissing(FastschedError):
    """A server's programs are not to be found; `looked` says where they are not."""

    def __init__(self, message: str, *, looked: Sequence[str]) -> None:
        super().__init__(message)
        self.looked = tuple(looked)


Place = tuple[str, Callable[[], Iterable[Path]]]
"""Its name for people, and the folders of it that may hold the programs, best first."""

Accept = Callable[[Path], Path | None]
"""The program to run of what lies at a path, or None."""


def find(
    programs: str, given: Path | None, variable: str, places: Sequence[Place], accept: Accept
) -> Path:
    """The first path that is accepted.

    A path that was asked for, as an argument or in the environment, is taken or refused: another
    server than the one named would be a surprise.
    """
    asked_by, asked = f"the path given for {programs}", given
    if asked is None and os.environ.get(variable):
        asked_by, asked = variable, Path(os.environ[variable])
    if asked is not None:
        found = accept(asked.expanduser().absolute())
        if found is None:
            raise ServerMissing(
                f"{asked_by} is {str(asked)!r}, but {programs} cannot be run from there; "
                "give the folder that holds the programs, or leave it out to search for one",
                looked=[str(asked)],
            )
        return found
    looked = []
    for name, folders in places:
        tried = []
        for folder in folders():
            found = accept(folder)
            if found is not None:
                return found
            tried.append(str(folder))
        looked.append(f"{name} ({', '.join(tried) or 'nothing there'})")
    raise ServerMissing(
        f"{programs}: not found in {'; '.join(looked)}. "
        f"Type: pip install 'fastsched[servers]', or set {variable} to the folder that holds them",
        looked=looked,
    )


def package_folder(package: str) -> Iterable[Path]:
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    return [Path(spec.origin).parent] if spec is not None and spec.origin else []


def search_path() -> Iterable[Path]:
    """The folders of PATH."""
    return [Path(folder) for folder in os.get_exec_path() if folder]


def newest_first(folders: Iterable[Path]) -> list[Path]:
    """By the numbers in their paths: 18 before 15 before 9.6."""
    return sorted(folders, key=lambda p: [int(n) for n in re.findall(r"\d+", str(p))], reverse=True)


def runnable(path: Path) -> bool:
    """Also of a path in a folder that may not be read, where `Path.is_file` raises."""
    return os.path.isfile(path) and os.access(path, os.X_OK)


def said(program: str | Path, *arguments: str) -> str:
    """What a program writes, for example about its version; nothing when it fails."""
    done = subprocess.run(  # noqa: S603 - the caller found the program
        [program, *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else ""
