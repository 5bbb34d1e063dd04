"""A small disk, and what fills it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


class NoDisk(Exception):
    """This process may not mount one."""


class Ballast:
    """Everything that is free on a disk, until it is thrown off."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"

    def load(self) -> None:
        block = b"b" * 4096
        with self._path.open("ab", buffering=0) as file:
            try:
                while os.write(file.fileno(), block):
                    pass
            except OSError:
                pass

    def throw_off(self) -> None:
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk in memory, mounted at a new folder; `NoDisk` without the right to do so."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        raise NoDisk("no `mount` here") from None
    if mounted.returncode:
        raise NoDisk(f"needs the right to mount: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
