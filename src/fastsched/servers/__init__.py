"""Private servers for development and tests: real ones, on sockets of their own.

They need neither root nor Docker nor a free port, and are gone when this process is gone.

    with PrivatePostgres(durable=False) as pg, PrivateRedis() as redis:
        scheduler = Scheduler(pg.url, redis=redis.url)
"""

from fastsched.servers.find import ServerMissing
from fastsched.servers.postgres import PrivatePostgres
from fastsched.servers.redis import PrivateRedis
from fastsched.servers.server import PrivateServer, ServerFailed

__all__ = ["PrivatePostgres", "PrivateRedis", "PrivateServer", "ServerFailed", "ServerMissing"]
