"""The program in a library's own environment: ``python -m rivals.program LIBRARY enqueue|work``.

It needs the standard library and the module `rivals.libraries.LIBRARY`, which has

* `SETTINGS`: in a few words, how it is set up, and in comments where its documentation says so
* `set_up()`: make tables, open connections; called once, by the enqueueing program
* `enqueue(number)`: one job; returns when the library says that it has it
* `enqueue_many(numbers)`: the fastest way it documents
* `left()`: jobs in the store that are not finished, those claimed by a worker included
* `work()`: be one worker, until killed

The first four may be coroutine functions. The enqueueing program does what lines on its standard
input say, one JSON object each, and answers with lines.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rivals.board import Board

POSTGRES = os.environ["RIVALS_POSTGRES"]
REDIS = os.environ["RIVALS_REDIS"]
FOLDER = Path(os.environ["RIVALS_FOLDER"])
STORE = os.environ["RIVALS_STORE"]
"""Which of a library's stores this entry is about."""
started = Board(Path(os.environ["RIVALS_BOARD"])).started


def chunks(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    """`numbers` in pieces of at most `size`."""
    return [numbers[at : at + size] for at in range(0, len(numbers), size)]


async def serve(library: Any, answer: Any) -> None:
    """Do what the lines on standard input say."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        answer(await _ORDERS[order.pop("do")](library, **order))


async def _set_up(library: Any) -> dict[str, Any]:
    await _call(library.set_up)
    return {"settings": library.SETTINGS}


async def _singles(library: Any, first: int, count: int) -> float:
    """Seconds that `count` calls of `enqueue` take, one after another."""
    enqueue = library.enqueue
    began = time.monotonic()
    if asyncio.iscoroutinefunction(enqueue):
        for number in range(first, first + count):
            await enqueue(number)
    else:
        for number in range(first, first + count):
            enqueue(number)
    return time.monotonic() - began


async def _bulk(library: Any, first: int, count: int) -> tuple[float, float]:
    """When enqueueing them all began, and ended."""
    numbers = range(first, first + count)
    began = time.monotonic()
    await _call(library.enqueue_many, numbers)
    return began, time.monotonic()


async def _trickle(library: Any, first: int, count: int) -> list[float]:
    """When each call of `enqueue` began; they are 10 to 30 ms apart."""
    sent = []
    for number in range(first, first + count):
        await asyncio.sleep(random.uniform(0.01, 0.03))
        sent.append(time.monotonic())
        await _call(library.enqueue, number)
    return sent


async def _left(library: Any) -> int:
    return int(await _call(library.left))


async def _call(function: Any, *args: Any) -> Any:
    answer = function(*args)
    return await answer if asyncio.iscoroutine(answer) else answer


_ORDERS = {
    "set up": _set_up,
    "singles": _singles,
    "bulk": _bulk,
    "trickle": _trickle,
    "left": _left,
}


def main() -> None:
    name, role = sys.argv[1:]
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    library = importlib.import_module(f"rivals.libraries.{name}")
    if role == "work":
        library.work()
        return

    def answer(what: Any) -> None:
        print(json.dumps(what), file=answers, flush=True)

    asyncio.run(serve(library, answer))


if __name__ == "__main__":
    main()
