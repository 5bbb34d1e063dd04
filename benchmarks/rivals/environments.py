"""A virtual environment for each library, so that none decides the versions of another."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from rivals.entries import Entry

STAMP = "installed"


class Unavailable(Exception):
    """A library that cannot be installed or run here, and why."""


def python_for(entry: Entry, envs: Path) -> Path:
    """The interpreter of the library's environment, which is made first if it is not there."""
    if not entry.needs:
        return Path(sys.executable)
    folder = envs / entry.library
    python = folder / "bin" / "python"
    if not (folder / STAMP).exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run([str(_interpreter(entry)), "-m", "venv", "--without-pip", str(folder)])
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--python", str(python), "install", *entry.needs])
        (folder / STAMP).touch()
    return python


def installed(entry: Entry, python: Path) -> str:
    """The library's version there, and the Python's when it is another than the runner's."""
    code = (
        "import importlib.metadata, platform; "
        f"print(importlib.metadata.version({entry.library!r}), platform.python_version())"
    )
    version, its = _run([str(python), "-c", code]).split()
    return version if its == platform.python_version() else f"{version}, Python {its}"


def _interpreter(entry: Entry) -> Path:
    """This Python if it is new enough for the library, or else one on PATH."""
    if sys.version_info[:2] >= entry.python:
        return Path(sys.executable)
    wanted, least = entry.python
    for minor in range(least, least + 8):
        found = shutil.which(f"python{wanted}.{minor}")
        if found and not subprocess.run([found, "-V"], capture_output=True).returncode:
            return Path(found)  # a shim of pyenv may be there and refuse
    raise Unavailable(
        f"needs Python {wanted}.{least}, this one is {sys.version_info[0]}.{sys.version_info[1]}, "
        "and no later one is on PATH"
    )


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = said[-1].removeprefix("ERROR: ") if said else f"exit code {done.returncode}"
        raise Unavailable(f"cannot be installed: {why}")
    return done.stdout
