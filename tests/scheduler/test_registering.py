"""Functions become jobs: by name, once, at any time, with what mypy knows of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from clocks import PATIENCE

from fastsched import ConfigurationError, JobContext, Scheduler, State, StoreUnavailable

TYPING = Path(__file__).parents[1] / "typing"


def work(a: int, *, b: str = "b") -> str:
    """Its own words."""
    return f"{a}{b}"


def test_a_registered_function_is_still_itself(scheduler):
    job = scheduler.job(work)
    assert job(1, b="c") == "1c"
    assert (job.__name__, job.__doc__, job.__wrapped__) == ("work", "Its own words.", work)
    assert job.kind == "scheduler.test_registering.work"
    assert repr(job) == "<job function scheduler.test_registering.work>"
    assert scheduler.kinds == (job.kind,)


def test_attributes_of_the_function_do_not_get_in_the_way(scheduler):
    def busy():
        pass

    busy.handler = busy._scheduler = busy._plain = "mine"
    job = scheduler.job(kind="busy")(busy)
    assert job.handler.kind == "busy"
    assert job.enqueue().state() is State.READY


def test_a_function_may_be_registered_with_two_schedulers(make_scheduler, tmp_path):
    first = make_scheduler(f"sqlite:///{tmp_path}/first.db")
    second = make_scheduler(f"sqlite:///{tmp_path}/second.db")
    inner = first.job(kind="work")(work)
    outer = second.job(kind="work")(inner)
    outer.enqueue(1)
    assert (first.store_stats().accepted, second.store_stats().accepted) == (0, 1)
    inner.enqueue(1)
    assert (first.store_stats().accepted, second.store_stats().accepted) == (1, 1)
    with second:
        second.wait_until_idle(PATIENCE)
        assert second.stats().completed == 1


def test_a_kind_belongs_to_one_function(scheduler):
    scheduler.job(kind="mine")(work)
    scheduler.job(kind="mine")(work)  # a module that is imported anew

    def other():
        pass

    with pytest.raises(ConfigurationError, match="kind 'mine' is work already"):
        scheduler.job(kind="mine")(other)

    namesake = type(work)(work.__code__, {})
    namesake.__module__ = "elsewhere"
    with pytest.raises(ConfigurationError, match="kind 'mine' is work already"):
        scheduler.job(kind="mine")(namesake)


def test_an_unknown_option_is_refused(scheduler):
    with pytest.raises(ConfigurationError, match="unknown option 'retries'"):
        scheduler.job(retries=3)(work)


def test_a_kind_registered_after_the_start_runs(scheduler):
    with scheduler:
        early = scheduler.enqueue(make_new_job("late"))
        scheduler.job(kind="other")(lambda: None).enqueue().wait(PATIENCE)
        assert early.state() is State.READY
        scheduler.job(kind="late")(lambda: None)
        assert early.wait(PATIENCE) is State.DONE


def make_new_job(kind):
    """A job of a kind that only another program knows."""
    other = Scheduler("sqlite:///elsewhere.db")
    return other.job(kind=kind)(lambda: None).job()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"workers": 0}, "workers=0"),
        ({"workers": 1.5}, "workers=1.5"),
        ({"queues": "mail"}, r"wanted a list, for example \['mail'\]"),
        ({"queues": ["two words"]}, "queues='two words'"),
        ({"stop_grace": -1}, "stop_grace=-1"),
        ({"interrupt_grace": 0}, "interrupt_grace=0"),
        ({"keep_done": float("nan")}, "keep_done=nan"),
        ({"dedupe_for": "1 day"}, "dedupe_for='1 day'"),
    ],
)
def test_settings_are_checked_at_the_door(options, what):
    with pytest.raises(ConfigurationError, match=what):
        Scheduler("sqlite:///x.db", **options)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("fastsched.db", "has no scheme"),
        ("mysql://host/db", "is not a store of this version"),
        ("sqlite://fastsched.db", "three slashes"),
        ("sqlite:///", "need a file"),
        ("sqlite:///:memory:", "need a file"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_with_one_that_does(url, what):
    with pytest.raises(ConfigurationError, match=what) as refused:
        Scheduler(url)
    assert "sqlite:///path/to/file.db" in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:hunter2@host/db",
        "mysql://user:hun/ter2@host/db",
        "mysql://user:hunter2@x@host/db",
        "sqlite://user:hunter2@host/db",
        "user:hunter2@host/db",
    ],
)
def test_no_error_shows_a_password(url):
    with pytest.raises(ConfigurationError) as refused:
        Scheduler(url)
    assert "ter2" not in str(refused.value)


def test_no_repr_shows_a_password():
    scheduler = Scheduler("postgresql://user:hunter2@host/db?password=hunter2")
    for text in (repr(scheduler), str(scheduler), scheduler.store_name):
        assert "hunter2" not in text
        assert "host" in text
    assert "producer" in repr(scheduler)


def test_a_folder_that_does_not_exist_is_said_at_the_first_use(make_scheduler, tmp_path):
    scheduler = make_scheduler(f"sqlite:///{tmp_path}/no/such/folder/jobs.db")
    job = scheduler.job(work)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="give a path in a folder that exists"):
            job.enqueue(1)
    with pytest.raises(StoreUnavailable):
        scheduler.start()
    assert not scheduler.started


def test_nothing_is_opened_before_it_is_needed(make_scheduler, tmp_path):
    scheduler = make_scheduler(f"sqlite:///{tmp_path}/quiet.db")
    job = scheduler.job(work)
    job.job(1)
    repr(scheduler)
    scheduler.stats()
    scheduler.stop()
    assert list(tmp_path.iterdir()) == []
    job.enqueue(1)
    assert (tmp_path / "quiet.db").exists()


def test_the_url_may_come_from_the_environment(make_scheduler, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTSCHED_URL", f"sqlite:///{tmp_path}/env.db")
    assert Scheduler().store_name.endswith("/env.db")
    assert Scheduler(f"sqlite:///{tmp_path}/own.db").store_name.endswith("/own.db")


def test_enqueue_takes_what_job_makes_and_nothing_else(scheduler):
    job = scheduler.job(work)
    for wrong in (job, job.options(), work, "job", None, {"kind": "work"}):
        with pytest.raises(TypeError, match=r"wanted a job made by function\.job"):
            scheduler.enqueue(wrong)
        with pytest.raises(TypeError, match=r"wanted a job made by function\.job"):
            scheduler.enqueue_many([job.job(1), wrong])
    assert scheduler.store_stats().accepted == 0
    assert scheduler.enqueue_many([]) == []
    assert scheduler.enqueue(job.job(1)).state() is State.READY


def test_the_context_is_no_argument(scheduler):
    seen = []

    @scheduler.job(kind="look")
    def look(ctx: JobContext, a: int, b: int = 2) -> None:
        seen.append((ctx.kind, a, b))

    with pytest.raises(TypeError, match=r"look\(a: .*, b: .*\)"):
        look.enqueue(1, 2, 3)
    with scheduler:
        assert look.enqueue(1, b=3).wait(PATIENCE) is State.DONE
    assert seen == [("look", 1, 3)]


def test_a_type_checker_knows_the_arguments_of_every_call():
    """In the checked file each wrong call is marked: a mark without an error is one as well."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--warn-unused-ignores",
            f"--config-file={TYPING / 'mypy.ini'}",
            f"--cache-dir={TYPING.parents[1] / '.mypy_cache'}",
            str(TYPING / "calls.py"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
