"""A TCP proxy that does to connections what networks do: cut them, or swallow what is sent."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Literal

Way = Literal["sent", "answered"]


class Proxy:
    """Listens on a port of 127.0.0.1 and passes everything on to a Unix socket."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._threads: list[threading.Thread] = []
        self._left: dict[Way, int | None] = {"sent": None, "answered": None}
        self._refuse_after = False
        self._refusing = False
        self._swallowing = False
        self.cuts = 0
        """How often connections were cut."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._spawn(self._accept)

    # What a test does ----------------------------------------------------------------------------

    def cut_after(self, way: Way, count: int, *, then_refuse: bool = False) -> None:
        """Pass on so many bytes more that way, then reset every connection, once."""
        with self._lock:
            self._refuse_after = then_refuse
            self._left[way] = count

    def swallow(self) -> None:
        """From now on nothing arrives anywhere, and no connection ends."""
        self._swallowing = True

    def heal(self) -> None:
        """Pass everything on again; connections that have swallowed something are reset."""
        self._left = {"sent": None, "answered": None}
        self._refusing = False
        if self._swallowing:
            self._swallowing = False
            self.reset()

    def reset(self) -> None:
        """Reset every connection."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
                end.close()

    def close(self) -> None:
        self._refusing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()
        for thread in self._threads:
            thread.join()

    # How it does that ----------------------------------------------------------------------------

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._refusing:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                with self._lock:
                    self._pairs.add((client, server))
                self._spawn(self._pump, client, server, "sent")
                self._spawn(self._pump, server, client, "answered")

    def _pump(self, source: socket.socket, sink: socket.socket, way: Way) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self._swallowing:
                    continue
                passed, cut = self._allowed(way, data)
                sink.sendall(passed)
                if cut:
                    self.reset()
                    return
        if not self._swallowing:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _allowed(self, way: Way, data: bytes) -> tuple[bytes, bool]:
        with self._lock:
            left = self._left[way]
            if left is None:
                return data, False
            if len(data) <= left:
                self._left[way] = left - len(data)
                return data, False
            self._left[way] = None
            self._refusing = self._refuse_after
            self.cuts += 1
            return data[:left], True
