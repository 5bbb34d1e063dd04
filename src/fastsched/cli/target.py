"""From ``MODULE:SCHEDULER`` to the scheduler, with errors that say what to type."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from fastsched.cli.problems import Misconfigured
from fastsched.scheduler import Scheduler


def find_scheduler(target: str) -> Scheduler:
    """Import the module, from the current folder too, and take the scheduler out of it."""
    module_name, _, path = target.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = ".".join(Path(module_name).with_suffix("").parts).strip(".")
        raise Misconfigured(
            f"{target!r} is a file; give the module: {dotted}:{path or 'scheduler'}"
        )
    if not module_name or target.count(":") > 1:
        raise Misconfigured(f"{target!r}: wanted MODULE:SCHEDULER, for example hello:scheduler")
    module = _import(module_name)
    return _named(module, path) if path else _only(module)


def _import(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise Misconfigured(_not_found(error.name, name, here)) from error
        raise Misconfigured(f"importing {name} failed: {error} ({_where(error)})") from error
    except SyntaxError as error:
        raise Misconfigured(f"importing {name} failed: {error}") from error
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error}"
        raise Misconfigured(f"importing {name} failed: {what} ({_where(error)})") from error


def _not_found(missing: str, wanted: str, here: str) -> str:
    """What was tried, and what in this folder has a name like it."""
    text = f"there is no module {missing!r}, looked in {here} and the rest of sys.path"
    folder = Path(here, *wanted.split(".")[: missing.count(".")])
    modules = {p.stem for p in folder.glob("*.py")} | {
        p.parent.name for p in folder.glob("*/__init__.py")
    }
    close = difflib.get_close_matches(missing.rpartition(".")[2], sorted(modules), n=1)
    if close:
        return f"{text}; did you mean {close[0]!r}?"
    return f"{text}; go to the folder that holds it, or install it"


def _where(error: BaseException) -> str:
    """The place in the user's code that raised."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
        and frame.filename != __file__
        and frame.filename != importlib.__file__
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "at the top"


def _named(module: ModuleType, path: str) -> Scheduler:
    value: object = module
    for name in path.split("."):
        if not hasattr(value, name):
            raise Misconfigured(_no_attribute(module, value, path, name))
        value = getattr(value, name)
    if isinstance(value, Scheduler):
        return value
    raise Misconfigured(
        f"{module.__name__}:{path} is {_article(type(value).__name__)}, not a Scheduler"
        + _known(module)
    )


def _no_attribute(module: ModuleType, value: object, path: str, name: str) -> str:
    text = f"{module.__name__}:{path}: there is no {name!r}"
    close = difflib.get_close_matches(name, dir(value), n=1)
    return f"{text}; did you mean {close[0]!r}?" if close else text + _known(module)


def _only(module: ModuleType) -> Scheduler:
    """The one scheduler of a module."""
    match list(set(_schedulers(module).values())):
        case [scheduler]:
            return scheduler
        case []:
            raise Misconfigured(
                f"{module.__name__} has no Scheduler; make one: scheduler = fastsched.Scheduler()"
            )
    raise Misconfigured(f"{module.__name__} has several schedulers{_known(module)}")


def _known(module: ModuleType) -> str:
    names = _schedulers(module)
    if not names:
        return f"; {module.__name__} has no Scheduler"
    return "; give " + " or ".join(f"{module.__name__}:{name}" for name in names)


def _schedulers(module: ModuleType) -> dict[str, Scheduler]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Scheduler)}


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
