"""What a build makes, with a C compiler and without one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ["build", "setuptools", "Cython"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def source(tmp_path):
    """A copy of the project: a build leaves things behind."""
    missing = [tool for tool in TOOLS if importlib.util.find_spec(tool) is None]
    if missing:
        text = f"a build needs {', '.join(missing)}: pip install 'fastsched[dev]'"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    copy = tmp_path / "source"
    ignore = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "*.so", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignore)
    return copy


def build(source, kind, **environment):
    """Build a "wheel" or an "sdist"; return its path, or what was printed if that failed."""
    out = source.parent / "out"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FASTSCHED_")}
    result = subprocess.run(
        [
            *(sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check"),
            *(f"--{kind}", "--outdir", out, source),
        ],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if result.returncode:
        return None, result.stdout + result.stderr
    (made,) = out.iterdir()
    return made, result.stdout + result.stderr


def names(path):
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return wheel.namelist()
    with tarfile.open(path) as sdist:
        return [name.partition("/")[2] for name in sdist.getnames()]


def compiled(files):
    return [name for name in files if name.endswith((".so", ".pyd"))]


def generated(files):
    return [name for name in files if name.endswith(".c")]


def test_a_wheel_has_the_extension_and_its_types_but_no_generated_c(source):
    wheel, output = build(source, "wheel", FASTSCHED_REQUIRE_EXT="1")
    assert wheel, output
    files = names(wheel)
    assert len(compiled(files)) == 1
    assert generated(files) == []
    assert {"fastsched/py.typed", "fastsched/_heap.pyi", "fastsched/_heap.pyx"} <= set(files)
    assert not [name for name in files if name.startswith(("tests", "benchmarks"))]


def test_the_sdist_has_the_cython_source_and_builds(source, tmp_path):
    sdist, output = build(source, "sdist")
    assert sdist, output
    files = names(sdist)
    assert "src/fastsched/_heap.pyx" in files
    assert "tests/heap/test_contract.py" in files
    assert generated(files) == compiled(files) == []
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    wheel, output = build(unpacked, "wheel", FASTSCHED_REQUIRE_EXT="1")
    assert wheel, output
    assert len(compiled(names(wheel))) == 1


def test_a_pure_wheel_is_for_any_platform(source):
    wheel, output = build(source, "wheel", FASTSCHED_PURE="1")
    assert wheel, output
    assert wheel.name.endswith("-py3-none-any.whl")
    assert compiled(names(wheel)) == []
    assert {"fastsched/_heap_py.py", "fastsched/heap.py", "fastsched/py.typed"} <= set(names(wheel))


def test_without_a_compiler_the_build_succeeds_and_says_what_is_missing(source):
    wheel, output = build(source, "wheel", CC="/bin/false")
    assert wheel, output
    assert compiled(names(wheel)) == []
    assert output.count("fastsched will run on its slower pure-Python heap") == 1


def test_without_a_compiler_a_required_extension_is_an_error(source):
    wheel, output = build(source, "wheel", CC="/bin/false", FASTSCHED_REQUIRE_EXT="1")
    assert wheel is None
    assert "/bin/false" in output


def test_a_switch_is_on_or_off(source):
    wheel, output = build(source, "wheel", FASTSCHED_PURE="yes")
    assert wheel is None
    assert "FASTSCHED_PURE must be 0 or 1, not 'yes'" in output
