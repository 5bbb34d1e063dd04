"""The private folder that a server lives in, and what removes both when their owner dies."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from fastsched.errors import ConfigurationError

_LONGEST_PATH = 103
"""Bytes in the path of a Unix socket: 103 on macOS, 107 on Linux."""
_LONGEST_NAME = len("fs-pg-12345678/.s.PGSQL.65535")

_KEEPER = """\
folder=$1 farewell=$2 server=
alive() {
    kill -0 "$server" || return 1
    read -r _ _ state _ < "/proc/$server/stat" || return 0  # only Linux has it
    [ "$state" != Z ]  # dead already, and not yet reaped
}
while read -r line; do server=$line; done
if [ -n "$server" ]; then
    kill -CONT "$server"
    kill -"$farewell" "$server"
    tenths=0
    while alive && [ "$tenths" -lt 100 ]; do
        sleep 0.1
        tenths=$((tenths + 1))
    done
    kill -KILL "$server"
fi
rm -rf "$folder"
"""
"""Reads the server's process id at each start, an empty line at each end. The pipe closes when the
owner ends, in whatever way. The kernel's own signal for this (PR_SET_PDEATHSIG) knows only Linux,
fires when the *thread* that started the server ends, and removes no folder."""

_homes: weakref.WeakSet[Home] = weakref.WeakSet()


@dataclass(frozen=True)
class User:
    """The user a server runs as, when not as this one."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> User:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise ConfigurationError(
                f"this process is root, which may not run the server, and there is no user "
                f"{name!r} to run it instead; run as an ordinary user"
            ) from None
        return cls(name, entry.pw_uid, entry.pw_gid)


class Home:
    """A new folder with a short path, readable by its user only; it goes when its owner goes.

    Cost: one sleeping shell.
    """

    def __init__(
        self, prefix: str, *, parent: Path | None, user: User | None, farewell: signal.Signals
    ) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=_short(parent, user))).resolve()
        self._user = user
        self._keeper = subprocess.Popen(  # noqa: S603 - the script above
            ["/bin/sh", "-c", _KEEPER, "keeper", self.path, farewell.name.removeprefix("SIG")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the owner
        )
        self._pipe = cast("IO[bytes]", self._keeper.stdin)
        _homes.add(self)
        self._give_away(self.path)

    def write(self, name: str, text: str) -> Path:
        """A file that only the server may read."""
        path = self.path / name
        path.touch(mode=0o600)
        path.write_text(text)
        self._give_away(path)
        return path

    def _give_away(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.uid, self._user.gid)

    def enter(self, pid: int) -> None:
        """A server lives here from now on."""
        self._tell(f"{pid}\n")

    def leave(self) -> None:
        """It has ended."""
        self._tell("\n")

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # someone killed the keeper
            self._pipe.write(line.encode())
            self._pipe.flush()

    def remove(self) -> None:
        """End the server if it still runs, and remove the folder."""
        self._pipe.close()
        self._keeper.wait()
        if self.path.exists():
            shutil.rmtree(self.path)

    def forsake(self) -> None:
        """In the child of a fork: the home stays the parent's, and must not outlive it."""
        self._pipe.close()


def _short(parent: Path | None, user: User | None) -> Path:
    """The folder to make a home in: the one given, or else where temporary files go."""
    if parent is not None:
        parent = parent.absolute()
        if not _fits(parent):
            raise ConfigurationError(
                f"directory={str(parent)!r} is too long a path: with the name of a socket it would "
                f"have more than {_LONGEST_PATH} bytes; give a shorter one"
            )
        if user is not None and not _open_to_all(parent):
            raise ConfigurationError(
                f"directory={str(parent)!r} cannot be entered by the user {user.name!r}, who runs "
                "the server when this process is root; give one that everybody may enter"
            )
        return parent
    usual = Path(tempfile.gettempdir())
    suits = _fits(usual) and (user is None or _open_to_all(usual))
    return usual if suits else Path("/tmp")  # noqa: S108 - mkdtemp makes it safe


def _fits(parent: Path) -> bool:
    return len(os.fsencode(parent.resolve())) + 1 + _LONGEST_NAME <= _LONGEST_PATH


def _open_to_all(folder: Path) -> bool:
    folder = folder.resolve()
    return all(step.stat().st_mode & stat.S_IXOTH for step in [folder, *folder.parents])


def _forsake_all() -> None:
    for home in list(_homes):
        home.forsake()


os.register_at_fork(after_in_child=_forsake_all)
