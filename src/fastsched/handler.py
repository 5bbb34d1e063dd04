"""What is known of a handler: its function, how it is called, and what happens when it fails."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastsched.context import JobContext
from fastsched.errors import ConfigurationError
from fastsched.retry import Backoff, exponential

Errors = tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A function registered for a kind, with the defaults of its jobs."""

    kind: str
    function: Callable[..., Any]
    wants_context: bool
    queue: str = "default"
    priority: int = 0
    timeout: float | None = None
    deadline: float | None = None
    max_attempts: int = 5
    backoff: Backoff = field(default_factory=exponential)
    retry_on: Errors = (Exception,)
    give_up_on: Errors = ()


def kind_of(function: Callable[..., Any]) -> str:
    """The stable name of a function: its module and qualified name.

    A script's module is called `__main__` while it runs; here it keeps the name by which a worker
    imports it.
    """
    module = function.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        file = getattr(main, "__file__", None)
        if spec is not None:
            module = spec.name.removesuffix(".__main__")
        elif file is not None:
            module = Path(file).stem
    name = function.__qualname__
    if "<locals>" in name or "<lambda>" in name:
        raise ConfigurationError(
            f"{module}.{name} has no stable name; define it at the top of a module, "
            "or name the job: @scheduler.job(kind='...')"
        )
    return f"{module}.{name}"


def wants_context(function: Callable[..., Any]) -> bool:
    """Whether the first parameter is annotated `JobContext`; elsewhere the annotation is refused."""
    name = getattr(function, "__qualname__", repr(function))
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(
            f"{name} is an async function; a handler is a plain function "
            "(call asyncio.run(...) inside it)"
        )
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # a name that exists only for type checkers
        hints = dict(inspect.get_annotations(function))
    positions = [
        position
        for position, parameter in enumerate(inspect.signature(function).parameters)
        if hints.get(parameter) in (JobContext, "JobContext", "fastsched.JobContext")
    ]
    if positions and positions != [0]:
        raise ConfigurationError(f"{name}: the JobContext must be the first parameter")
    return bool(positions)


class CallCheck:
    """Checks arguments against a handler's signature, before anything is stored.

    Cost: a comparison for positional calls of plain signatures, else `Signature.bind`.
    """

    __slots__ = ("_least", "_most", "_signature", "_what")

    def __init__(self, handler: Handler) -> None:
        signature = inspect.signature(handler.function)
        parameters = list(signature.parameters.values())
        if handler.wants_context:
            parameters = parameters[1:]
        self._signature = signature.replace(parameters=parameters)
        self._what = handler.function.__qualname__
        positional = [
            p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        plain = len(positional) == len(parameters)
        self._least = sum(p.default is p.empty for p in positional) if plain else 1
        self._most = len(positional) if plain else 0

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """`TypeError` with the signature if the call does not fit it."""
        if not kwargs and self._least <= len(args) <= self._most:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._what}{self._signature}: {error}") from None
