"""A process that starts a private server, says where it is, and waits to be ended.

python owner.py postgres|redis [fork]
"""

from __future__ import annotations

import json
import os
import sys

from fastsched.errors import ConfigurationError
from fastsched.servers import PrivatePostgres, PrivateRedis, PrivateServer

SERVERS = {"postgres": lambda: PrivatePostgres(durable=False), "redis": PrivateRedis}


def main(kind: str, *how: str) -> None:
    server = SERVERS[kind]().start()
    refused = _fork(server) if "fork" in how else None
    home = server._home
    assert home is not None
    told = {
        "pid": server.pid,
        "keeper": home._keeper.pid,
        "folder": str(server.folder),
        "url": server.url,
        "refused": refused,
    }
    print(json.dumps(told), flush=True)
    sys.stdin.read()


def _fork(server: PrivateServer) -> str:
    """A child that tries to end and to start the server, and says how it was refused."""
    refused, tell = os.pipe()
    if os.fork() == 0:
        server.stop()
        server.close()
        try:
            server.start()
        except ConfigurationError as error:
            os.write(tell, str(error).encode())
        sys.stdin.read()
        os._exit(0)
    os.close(tell)
    return os.read(refused, 1000).decode()


if __name__ == "__main__":
    main(*sys.argv[1:])
