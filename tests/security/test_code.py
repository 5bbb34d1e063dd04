"""Data never become code: no format that can, and nothing that a row names is imported or run."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastsched

ROOT = Path(fastsched.__file__).parent
TESTS = Path(__file__).parents[1]
MODULES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)
NEVER = (
    "import", "exec", "compile", "marshal.loads", "pickle.find_class", "os.system", "os.exec",
    "os.posix_spawn", "os.fork", "subprocess.Popen", "code.__new__", "function.__new__",
    "builtins.breakpoint", "shutil.", "os.remove.", "urllib.Request", "webbrowser.open",
)  # fmt: skip

OF_A_TRACEBACK = {
    ("compile", "(b'raise ValueError(\"no luck\")', '<unknown>')"),
    ("compile", "(b'(\\nraise ValueError(\"no luck\")\\n)', '<unknown>')"),  # from 3.13 on
    ("open", "('<unknown>', 'rb', 0)"),  # when it is not parsed at once, since 3.13
}
"""To mark the place in the handler's own line, the module `traceback` parses that line."""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    found: str = request.getfixturevalue("pg_url")
    return found


def test_a_worker_imports_compiles_and_opens_nothing_that_rows_name(
    url: str, tmp_path: Path
) -> None:
    for name in ("evil_module.py", "evil_package/__init__.py", "evil_package/evil.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"open({str(tmp_path / 'hijacked')!r}, 'w')\nrun = print\n")
    paths = [str(tmp_path), str(TESTS), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "security.audited", url],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert not (tmp_path / "hijacked").exists()
    assert not [name for name in told["modules"] if name.startswith("evil")]
    happened = [tuple(each) for each in told["happened"] if tuple(each) not in OF_A_TRACEBACK]
    assert len(happened) > 50  # the hook did listen
    assert not [each for each in happened if each[0].startswith(NEVER)]
    assert not [each for each in happened if "evil" in each[1]]
    opened = {args for event, args in happened if event == "open"}
    ours = (str(tmp_path / "jobs.db"), "/proc/", "/dev/", "_migrations/0")
    assert not [args for args in opened if not any(each in args for each in ours)]


# What stands in the sources ----------------------------------------------------------------------

BANNED_MODULES = {"pickle", "shelve", "yaml", "dill", "cloudpickle", "joblib", "jsonpickle", "xml"}
BANNED_CALLS = {"eval", "exec", "__import__", "compile", "input", "breakpoint", "globals"}
IMPORTS_BY_NAME = {"cli/target.py", "cli/checkups.py", "heap.py"}
"""Where modules are imported by a name: one that the user typed, or one of ours."""
PROCESSES = {"servers", "demo", "cli/demo.py"}
"""What may start processes."""


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for path in MODULES:
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            yield name, node


def test_no_module_knows_a_format_that_makes_code_of_data() -> None:
    for name, node in nodes():
        if isinstance(node, ast.Import):
            imported = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported = {(node.module or "").split(".")[0]}
        else:
            continue
        assert not imported & BANNED_MODULES, f"{name}:{node.lineno}"
        if "subprocess" in imported:
            assert name.split("/")[0] in PROCESSES or name in PROCESSES, f"{name}:{node.lineno}"


def test_nothing_is_evaluated_and_nothing_imported_by_a_stored_name() -> None:
    for name, node in nodes():
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in BANNED_CALLS, f"{name}:{node.lineno}: {called}"
        assert called not in ("marshal.loads", "marshal.load", "os.system"), f"{name}:{node.lineno}"
        if called.endswith("import_module"):
            assert name in IMPORTS_BY_NAME, f"{name}:{node.lineno}"
        shell = [k for k in node.keywords if k.arg == "shell"]
        assert not shell, f"{name}:{node.lineno}"


def test_no_attribute_is_looked_up_by_a_name_from_a_store() -> None:
    """`getattr` takes a name that stands in the source, or comes from it through a parameter."""
    allowed = {
        ("engine.py", "method"), ("cli/stats.py", "state"), ("cli/stats.py", "total"),
        ("cli/target.py", "name"), ("cli/logs.py", "name"), ("redis_cache.py", "name"),
    }  # fmt: skip
    for name, node in nodes():
        if name.startswith("demo/"):
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            what = node.args[1]
            if not isinstance(what, ast.Constant):
                assert (name, ast.unparse(what)) in allowed, f"{name}:{node.lineno}"


EXECUTES = {"execute", "executemany", "executescript", "copy", "query"}


def test_no_sql_is_put_together_anywhere() -> None:
    """A statement is a constant, one of the named ones, or a migration: never made of values."""
    for name, node in nodes():
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in EXECUTES or not node.args or name.split("/")[0] == "servers":
            continue
        made_of_parts = [
            part
            for part in ast.walk(node.args[0])
            if isinstance(part, ast.JoinedStr | ast.BinOp)
            or (isinstance(part, ast.Attribute) and part.attr in ("format", "join", "replace"))
        ]
        assert not made_of_parts, f"{name}:{node.lineno}: {ast.unparse(node)}"
