"""A module imports only from rows above its own. This table is the map of the package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fastsched

ROOT = Path(fastsched.__file__).parent
ROWS = """
errors clock _heap_py _heap sql event_loop
heap ids job waiters interrupt user_connection
options codec retry outcomes bus context job_cache
stores.base handler events backlog
pipe_bus redis_bus stats executor handle
redis_cache stores.* servers.*
stores redis_choice
writer report pool pace
node
engine
async_calls
scheduler
__init__
demo.*
cli.*
__main__
"""
LEVEL = {name: level for level, row in enumerate(ROWS.strip().splitlines()) for name in row.split()}
DRIVERS = {
    "sqlite3": ("stores.sqlite", "cli.", "demo."),
    "psycopg": ("stores.postgres", "servers.", "cli."),
    "psycopg_pool": ("stores.postgres",),
    "redis": ("redis_bus", "redis_cache", "servers.", "cli."),
}
MODULES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__" and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


def level_of(name: str) -> int:
    if name in LEVEL:
        return LEVEL[name]
    if f"{name}.*" in LEVEL:
        return LEVEL[f"{name}.*"]
    return LEVEL[f"{name.split('.')[0]}.*"]


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(found: set[str]) -> set[str]:
    """The modules of the package among what is imported."""
    names = {name.removeprefix("fastsched.") for name in found if name.startswith("fastsched.")}
    known = {name_of(path) for path in MODULES}
    return names & known


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_rows_above_its_own(path):
    name = name_of(path)
    package = name.split(".")[0]
    for other in ours(imports_of(path)):
        same_package = other.split(".")[0] == package and "." in name + other
        assert level_of(other) < level_of(name) or same_package or other == name, (
            f"{name} imports {other}, which stands in its own row or below"
        )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_driver_is_imported_only_where_it_is_used(path):
    name = name_of(path)
    for driver, places in DRIVERS.items():
        if any(found.split(".")[0] == driver for found in imports_of(path)):
            assert name.startswith(places), f"{name} imports {driver}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_clock_asks_the_time(path):
    if name_of(path) == "clock":
        return
    assert "time" not in imports_of(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("utcnow", "today"), f"line {node.lineno}"
