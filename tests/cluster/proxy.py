"""A TCP proxy that does to connections what networks do: cut, swallow, delay and slice."""

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
        self._pairs: dict[frozenset[socket.socket], int] = {}
        """The two ends of each connection, and how many ways through it are open."""
        self._threads: list[threading.Thread] = []
        self._left: dict[Way, int | None] = {"sent": None, "answered": None}
        self._refuse_after = False
        self._refusing = False
        self._swallowing = False
        self._delay = 0.0
        self._slice = 0
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

    def drag(self, delay: float, *, slice: int = 0) -> None:
        """From now on everything is so many seconds late, and comes in slices of so many bytes."""
        self._delay, self._slice = delay, slice

    def heal(self) -> None:
        """Pass everything on again; connections that have swallowed something are reset."""
        self.drag(0.0)
        self._left = {"sent": None, "answered": None}
        self._refusing = False
        if self._swallowing:
            self._swallowing = False
            self.reset()

    def reset(self) -> None:
        """Reset every connection."""
        with self._lock:
            pairs, self._pairs = self._pairs, {}
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
                try:
                    server.connect(self._target)
                except OSError:  # nobody listens there
                    client.close()
                    server.close()
                    continue
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._pairs[frozenset((client, server))] = 2
                self._spawn(self._pump, client, server, "sent")
                self._spawn(self._pump, server, client, "answered")

    def _pump(self, source: socket.socket, sink: socket.socket, way: Way) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self._swallowing:
                    continue
                passed, cut = self._allowed(way, data)
                self._pass_on(passed, sink)
                if cut:
                    self.reset()
                    return
        if not self._swallowing:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._retire(frozenset((source, sink)))

    def _retire(self, pair: frozenset[socket.socket]) -> None:
        """One way of a connection is over; close it with the second."""
        with self._lock:
            if pair not in self._pairs:  # it was reset
                return
            self._pairs[pair] -= 1
            if self._pairs[pair]:
                return
            del self._pairs[pair]
        for end in pair:
            end.close()

    def _pass_on(self, data: bytes, sink: socket.socket) -> None:
        if self._delay:
            threading.Event().wait(self._delay)
        while size := self._slice:
            if len(data) <= size:
                break
            sink.sendall(data[:size])
            data = data[size:]
        sink.sendall(data)

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
