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
from fastsched.errors import ConfigurationError, shown
from fastsched.options import checked, named
from fastsched.retry import Backoff, exponential

Errors = tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A function registered for a kind, with the defaults of its jobs."""

    kind: str
    function: Callable[..., Any]
    wants_context: bool
    is_async: bool = False
    queue: str = "default"
    priority: int = 0
    timeout: float | None = None
    deadline: float | None = None
    max_attempts: int = 5
    backoff: Backoff = field(default_factory=exponential)
    retry_on: Errors = (Exception,)
    give_up_on: Errors = ()


_FIELDS = {"queue", "priority", "timeout", "deadline", "max_attempts"}
_OPTIONS = _FIELDS | {"kind", "backoff", "retry_on", "give_up_on"}


def make_handler(function: Callable[..., Any], options: dict[str, Any]) -> Handler:
    """A handler from a function and the options of its decorator, all checked."""
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise ConfigurationError(
            f"unknown option {shown(unknown[0])}; known: {', '.join(sorted(_OPTIONS))}"
        )
    if not isinstance(getattr(function, "__qualname__", None), str):
        raise ConfigurationError(f"{shown(function)} has no name of its own; wrap it in a def")
    kind = options.get("kind")
    fields = checked({name: given for name, given in options.items() if name in _FIELDS})
    if "deadline_at" in fields:
        raise ConfigurationError(
            "deadline: wanted seconds after due; a point in time belongs to one job: "
            "function.options(deadline=...)"
        )
    return Handler(
        kind=named("kind", kind_of(function) if kind is None else kind),
        function=function,
        wants_context=wants_context(function),
        is_async=inspect.iscoroutinefunction(function),
        backoff=_backoff(options.get("backoff")),
        retry_on=_errors("retry_on", options.get("retry_on", Exception)),
        give_up_on=_errors("give_up_on", options.get("give_up_on", ())),
        **fields,
    )


def _backoff(given: Backoff | None) -> Backoff:
    if given is None:
        return exponential()
    if not callable(given):
        raise ConfigurationError(
            f"backoff={shown(given)}: wanted a function (attempt, error) -> seconds or None, for "
            "example fastsched.retry.fixed(5)"
        )
    return given


def _errors(name: str, given: Any) -> tuple[type[BaseException], ...]:
    errors = given if isinstance(given, tuple) else (given,)
    if not all(isinstance(e, type) and issubclass(e, BaseException) for e in errors):
        raise ConfigurationError(
            f"{name}={shown(given)}: wanted an exception class or a tuple of them"
        )
    return errors


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
    """Whether the first parameter is annotated `JobContext`; any other place is refused."""
    name = getattr(function, "__qualname__", repr(function))
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            f"{name} is a generator: calling it would run nothing of it; "
            "a handler is a plain or an async function"
        )
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # a name that exists only for type checkers
        hints = dict(inspect.get_annotations(function))
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some that are written in C
        raise ConfigurationError(
            f"{name} does not tell its arguments; wrap it in a function of your own"
        ) from None
    positions = [
        position
        for position, parameter in enumerate(signature.parameters)
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
