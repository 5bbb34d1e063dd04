"""The books of benchmarks/rivals: what it makes of rounds, and that nobody drops out unnamed."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def rivals(monkeypatch):
    """Import a module of the package, which is not installed."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield lambda name: importlib.import_module(f"rivals.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] in ("rivals", "machine")]:
        del sys.modules[name]


@pytest.fixture
def result(rivals):
    """A result with rounds of these rates, the latencies being in milliseconds."""
    report, rounds, entries = rivals("report"), rivals("rounds"), rivals("entries")

    def make(library, store, rates=(), latencies=(1.0,), why=""):
        entry = entries.Entry(name=library.title(), library=library, store=store, jobs=10)
        late = tuple(each / 1e3 for each in latencies)
        return report.Result(
            entry=entry,
            why=why,
            rounds=[
                rounds.Round(single=rate, bulk=rate, drain=rate, through=rate, latencies=late)
                for rate in rates
            ],
        )

    return make


def cells(table, start):
    """The cells of the first row that starts with these words."""
    line = next(line for line in table.splitlines() if line.startswith(f"| {start} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_figure_is_the_median_of_the_rounds(rivals, result):
    table = rivals("report").tables([result("rq", "Redis", rates=[100, 900, 300])])
    assert cells(table, "Rq")[2:6] == ["300"] * 4


def test_a_ratio_is_the_median_of_each_rounds_own(rivals, result):
    # Of the medians, 20 and 4, it would be 5; round by round it is 10, 5 and 2.
    ours = result("fastsched", "SQLite", rates=[10, 20, 80])
    theirs = result("huey", "SQLite", rates=[1, 4, 40])
    assert [column.ratio(ours, theirs) for column in rivals("report").COLUMNS][:4] == [5] * 4


def test_less_latency_is_better_and_a_loss_stands_out(rivals, result):
    ours = result("fastsched", "SQLite", rates=[10], latencies=[4])
    theirs = result("huey", "SQLite", rates=[5], latencies=[2])
    row = cells(rivals("report").tables([ours, theirs]), "Huey (SQLite)")
    assert row[2:6] == ["2.0"] * 4
    assert row[6:] == ["**0.50**"] * 2


def test_the_99th_percentile_is_that_and_not_the_worst(rivals):
    percentile = rivals("report").percentile
    assert percentile([*range(200)], 0.99) == 198
    assert percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(
    ("store", "held_against"),
    [
        ("PostgreSQL", "PostgreSQL"),
        ("Redis", "PostgreSQL and Redis"),
        ("SQLite", "SQLite"),
    ],
)
def test_each_is_held_against_ours_on_the_like_of_its_store(rivals, result, store, held_against):
    report, entries = rivals("report"), rivals("entries")
    ours = [
        report.Result(entry=entry, rounds=result("fastsched", entry.store, rates=[1]).rounds)
        for entry in entries.ENTRIES
        if entry.ours
    ]
    assert report.opponent(result("huey", store).entry, ours).entry.store == held_against


def test_one_that_did_not_run_is_named_with_the_reason_and_has_no_figures(rivals, result):
    ran = result("rq", "Redis", rates=[1])
    broke = result("arq", "Redis", rates=[777], why="round 2: its program ended")
    table = rivals("report").tables([ran, broke])
    assert "* **Arq (Redis)** is missing: round 2: its program ended." in table
    assert "777" not in table


def test_one_whose_python_is_not_there_says_so(rivals, monkeypatch, tmp_path):
    entries, environments = rivals("entries"), rivals("environments")
    monkeypatch.setitem(entries.OLDEST_PYTHON, "rq", (3, 99))
    monkeypatch.setenv("PATH", str(tmp_path))
    entry = entries.Entry(name="RQ", library="rq", store="Redis", jobs=1)
    with pytest.raises(environments.Unavailable, match=r"needs Python 3\.99, this one is"):
        environments.python_for(entry, tmp_path)


def test_every_entry_has_a_module_that_keeps_the_contract(rivals):
    wanted = {"SETTINGS", "set_up", "enqueue", "enqueue_many", "left", "work"}
    entries = rivals("entries").ENTRIES
    files = {file.stem: file for file in (BENCHMARKS / "rivals" / "libraries").glob("[a-z]*.py")}
    assert files.keys() == {entry.library for entry in entries}
    for name, file in files.items():
        body = ast.parse(file.read_text()).body
        functions = {
            node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assigned = {
            target.id
            for node in body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert wanted <= functions | assigned, name


def test_the_board_knows_which_jobs_have_not_started(rivals, tmp_path):
    board = rivals("board").Board(tmp_path / "board", size=3)
    other = rivals("board").Board(tmp_path / "board")
    other.started(0)
    other.started(2)
    assert board.missing(0, 3) == 1
    assert board.wait(2, 1, timeout=0, alive=lambda: True)
    assert not board.wait(0, 3, timeout=60, alive=lambda: False)
    assert 0 < board.starts[0] <= board.starts[2]
