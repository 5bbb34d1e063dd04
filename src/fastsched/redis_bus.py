"""The bus of many servers: Redis or Valkey, publish and subscribe.

Nothing here is needed for a job to run, and nothing that arrives is believed: a message only makes
a node look in the store. Publishing happens in a thread of its own, so a Redis that is slow, full
or dead slows nobody; what has gathered meanwhile goes out as one hint.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fastsched.bus import LOOK_AT_ALL, Hint, WakeUp
from fastsched.clock import Clock
from fastsched.ids import new_id
from fastsched.job import MAX_PRIORITY, MIN_PRIORITY

_log = logging.getLogger("fastsched.bus")

CALL_TIMEOUT = 2.0
"""Seconds for one command."""
SILENCE = 10.0
"""Seconds without a message after which the subscriber asks Redis whether it is still there."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_MOST_BYTES = 64 * 1024
"""A longer message is not one of ours."""
_MOST_ENDED = 500
"""Ids of ended jobs in a message; of more it says only that there are some."""


def make_client(url: str, timeout: float | None = CALL_TIMEOUT) -> redis.Redis:
    """A client that neither retries nor waits by itself: the bus does both."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=CALL_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        client_name="fastsched",
    )


class RedisBus:
    """A `Bus` on one channel of a Redis server, named after the installation's `prefix`."""

    def __init__(self, url: str, clock: Clock, *, prefix: str = "fastsched") -> None:
        self._url = url
        self._clock = clock
        self._channel = f"{prefix}:hints"
        self._own = new_id()
        self._client = make_client(url)
        self._changed = threading.Condition()
        self._outbox = Hint()
        self._closed = False
        self._publisher: threading.Thread | None = None
        self._subscriber: threading.Thread | None = None
        self._pubsub: Any = None

    # Publishing ----------------------------------------------------------------------------------

    def publish(self, hint: Hint) -> None:
        with self._changed:
            self._outbox = _bounded(self._outbox | hint)
            if self._publisher is None and not self._closed:
                self._publisher = self._start(self._publish_all, "publisher")
            self._changed.notify_all()

    def _publish_all(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                while not self._outbox and not self._closed:
                    self._clock.wait(self._changed, None)
                if not self._outbox:
                    return
                hint, self._outbox = self._outbox, Hint()
            try:
                self._client.publish(self._channel, _packed(hint, self._own))
                pause = _FIRST_PAUSE
            except (redis.RedisError, OSError, ValueError) as error:  # a host that can be no name
                _log.warning(
                    "hints cannot be published, nodes will look by themselves: %s", _text(error)
                )
                with self._changed:
                    if self._closed:
                        return
                    self._outbox = _bounded(self._outbox | hint)
                    self._wait_closed(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    # Subscribing ---------------------------------------------------------------------------------

    def subscribe(self, receive: Callable[[Hint], None]) -> None:
        self._subscriber = self._start(lambda: self._listen(receive), "bus")

    def _listen(self, receive: Callable[[Hint], None]) -> None:
        """Listen until closed; after every gap look at all, for a hint may have been missed."""
        pause = _FIRST_PAUSE
        while not self._closed:
            client: Any = make_client(self._url)
            try:
                with client.pubsub(ignore_subscribe_messages=True) as pubsub:
                    self._pubsub = pubsub
                    pubsub.subscribe(self._channel)
                    pubsub.get_message(timeout=CALL_TIMEOUT)
                    receive(LOOK_AT_ALL)
                    pause = _FIRST_PAUSE
                    self._receive_all(pubsub, receive)
            except (redis.RedisError, OSError, ValueError) as error:
                if not self._closed:
                    _log.warning("hints cannot be received, looking by itself: %s", _text(error))
            except Exception:
                _log.exception("receiving hints; starting over")
            finally:
                self._pubsub = None
                client.close()
            with self._changed:
                self._wait_closed(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _receive_all(self, pubsub: Any, receive: Callable[[Hint], None]) -> None:
        """Pass on messages; `RedisError` once the connection is broken or silent."""
        asked = strange = False
        while not self._closed:
            message = pubsub.get_message(timeout=CALL_TIMEOUT if asked else SILENCE)
            if message is not None and message["type"] == "message":
                try:
                    hint = _unpacked(message["data"], self._own)
                except (ValueError, TypeError, KeyError, AttributeError):
                    if not strange:  # one line, whatever the flood
                        _log.warning(
                            "a message that is not a hint was ignored, as others like it will be"
                        )
                    strange = True
                else:
                    if hint:
                        receive(hint)
            elif message is None and asked:
                raise redis.ConnectionError("no answer to a ping")
            elif message is None:
                pubsub.ping()
                asked = True
                continue
            asked = False

    # Life ----------------------------------------------------------------------------------------

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        pubsub = self._pubsub
        if pubsub is not None:
            with contextlib.suppress(Exception):  # wakes the subscriber from its read
                pubsub.connection._sock.shutdown(2)
        for thread in (self._publisher, self._subscriber):
            if thread is not None and thread is not threading.current_thread():
                thread.join()
        self._client.close()

    def forsake(self) -> None:
        self._closed = True  # redis-py drops a parent's connections by itself

    def _start(self, work: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=work, name=f"fastsched-{name}", daemon=True)
        thread.start()
        return thread

    def _wait_closed(self, seconds: float) -> None:
        """Pause (lock held), but not beyond `close`."""
        end = self._clock.monotonic() + seconds
        while not self._closed and (left := end - self._clock.monotonic()) > 0:
            self._clock.wait(self._changed, left)


def _bounded(hint: Hint) -> Hint:
    """The hint as one message can carry it, however long Redis was away."""
    if hint.ended is None or len(hint.ended) <= _MOST_ENDED:
        return hint
    return Hint(hint.wake_up, None, hint.cancel)


def _packed(hint: Hint, own: str) -> bytes:
    up = hint.wake_up
    return orjson.dumps(
        {
            "from": own,
            "wake": None if up is None else [up.priority, up.due_at],
            "ended": None if hint.ended is None else sorted(hint.ended),
            "cancel": hint.cancel,
        }
    )


def _unpacked(data: object, own: str) -> Hint:
    """The hint in a message, an empty one for our own; an error for what is not one of ours."""
    if not isinstance(data, bytes) or len(data) > _MOST_BYTES:
        raise ValueError
    message = orjson.loads(data)
    if message["from"] == own:
        return Hint()
    wake, ended = message["wake"], message["ended"]
    if ended is not None and not all(isinstance(job_id, str) for job_id in ended):
        raise ValueError
    return Hint(
        None if wake is None else _wake_up(*wake),
        None if ended is None else frozenset(ended),
        message["cancel"] is True,
    )


def _wake_up(priority: object, due_at: object) -> WakeUp:
    if not isinstance(priority, int) or not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise ValueError
    if not isinstance(due_at, (int, float)) or due_at != due_at:
        raise ValueError
    return WakeUp(priority, float(due_at))


def _text(error: BaseException) -> str:
    return str(error).split("\n")[0] or type(error).__name__
