"""The files to measure, and a few that cannot be."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

SKIPPED = frozenset({"__pycache__", "site-packages", "dist-packages"})
_PRIORITIES = {".py": 30, ".pyi": 20, ".c": 20, ".h": 20, ".txt": 10, ".rst": 10, ".md": 10}


def find_files(root: Path, limit: int | None) -> list[str]:
    """The regular files below `root`, and links to one or to nothing, in order of their paths."""
    found: list[str] = []
    folders = [str(root)]
    while folders:
        for entry in _entries(folders.pop()):
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED:
                    folders.append(entry.path)
            elif _to_measure(entry) and _is_text(entry.path):
                found.append(entry.path)
    return sorted(found)[:limit]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError:  # its files are not to be had, for the walk at the end either
        return []


def _to_measure(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except FileNotFoundError:  # a link to nothing, or gone already
        return entry.is_symlink()


def _is_text(path: str) -> bool:
    """Whether a path can be an argument: arguments are Unicode."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def walk_again(root: Path, limit: int | None) -> dict[str, os.stat_result | None]:
    """The same files found in another way, with what the system says of them now."""
    found: dict[str, os.stat_result | None] = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in SKIPPED]
        for file in files:
            path = os.path.join(folder, file)
            if not _is_text(path):
                continue
            try:
                status = os.stat(path)
            except FileNotFoundError:
                found[path] = None
            else:
                if stat.S_ISREG(status.st_mode):
                    found[path] = status
    return dict(sorted(found.items())[:limit])


def priority_of(path: str) -> int:
    """Programs first, then other text, then the rest."""
    return _PRIORITIES.get(os.path.splitext(path)[1], 0)


class Trouble:
    """Files that fail for real: gone, leading nowhere, not what they seem, or there only later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vanished = folder / "vanished.py"
        self.dangling = folder / "dangling.py"
        self.binary = folder / "binary.py"
        self.late = folder / "late.py"
        self._target = folder.parent / "late.target"
        folder.mkdir()
        self.vanished.write_text("print('now you see me')\n")
        self.dangling.symlink_to(folder / "nowhere")
        self.binary.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
        self.late.symlink_to(self._target)

    @property
    def paths(self) -> Sequence[str]:
        """All of them, the one that comes late first."""
        return [str(p) for p in (self.late, self.vanished, self.dangling, self.binary)]

    def vanish(self) -> None:
        """Delete a file for which there is a job."""
        self.vanished.unlink()

    def arrive(self) -> None:
        """Write what `late` leads to: its next attempt will succeed."""
        if not self._target.exists():
            self._target.write_text("# better late than never\n")
