"""A process that starts a private server, says where it is, and waits to be ended.

python owner.py postgres|redis [fork]
"""

from __future__ import annotations

import json
import os
import sys

from fastsched.servers import PrivatePostgres, PrivateRedis, PrivateServer

SERVERS = {"postgres": lambda: PrivatePostgres(durable=False), "redis": PrivateRedis}


def main(kind: str, *how: str) -> None:
    server = SERVERS[kind]().start()
    if "fork" in how:
        _fork(server)
    home = server._home
    assert home is not None
    told = {
        "pid": server.pid,
        "keeper": home._keeper.pid,
        "folder": str(server.folder),
        "url": server.url,
    }
    print(json.dumps(told), flush=True)
    sys.stdin.read()


def _fork(server: PrivateServer) -> None:
    """A child tries to end the server; then it waits for the end of the input, and so do we."""
    done, tell = os.pipe()
    if os.fork() == 0:
        server.stop()
        server.close()
        os.write(tell, b".")
        sys.stdin.read()
        os._exit(0)
    os.close(tell)
    os.read(done, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
