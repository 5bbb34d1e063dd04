"""A second PostgreSQL that follows a first one and can take its place."""

from __future__ import annotations

from urllib.parse import quote

from builders import until

from fastsched.servers import PrivatePostgres
from fastsched.servers.server import Home


class Standby(PrivatePostgres):
    """A copy of a running server, kept up to date by streaming; read-only until `promote`."""

    def __init__(self, primary: PrivatePostgres) -> None:
        super().__init__(durable=False, settings={"max_connections": 200})
        self._primary = primary

    def _set_up(self, home: Home) -> None:
        self._postgres = self._within_reach(home)
        self._run(
            home,
            self._postgres.with_name("pg_basebackup"),
            f"--pgdata={home.path / 'data'}",
            f"--dbname=host={self._primary.folder} user=postgres port=5432",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        )

    def follow(self) -> None:
        """From now on the first server's commits wait until this one has them."""
        self._primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._primary.query("SELECT pg_reload_conf()")
        synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        until(lambda: self._primary.query(synchronous))

    def promote(self) -> None:
        """Take the place of the first server."""
        self.query("SELECT pg_promote()")

    def url_of_both(self, database: str) -> str:
        """Whichever of the two is writable."""
        hosts = ",".join(quote(str(each.folder), safe="/") for each in (self._primary, self))
        return f"postgresql://postgres@/{quote(database)}?host={hosts}&port=5432,5432"
