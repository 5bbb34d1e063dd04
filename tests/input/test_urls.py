"""URLs and variables of the environment: refused where they are given, without a word of a
password; and one that leads nowhere is an error that says so, not a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from fastsched import ConfigurationError, Scheduler, StoreUnavailable
from fastsched.cli import commands

PG = "postgresql://127.0.0.1:1/none"
SECRET = "hunter2"

STORES: list[Any] = [
    b"sqlite:///x.db", 5, Path("x.db"), ["sqlite:///x.db"], object(), " ", "x", "://", "sqlite:",
    "sqlite://", "sqlite:///", "sqlite:////", "sqlite:///:memory:", "sqlite:///~nobody-of-that-name/x",
    "sqlite:///a\0b", "sqlite:///a\nb", "sqlite:///\ud800", "SQLITE:///x.db", "sqlite3:///x.db",
    "\ufeffsqlite:///x.db", "sqlite:///x\x1b[2J.db", "http://x/y", "x" * 100_000 + "://", "mysql://h/d",
    f"postgresql://u:{SECRET}%zz@h/d", f"postgresql://u:100%{SECRET}@h/d",
    f"postgresql://u:a/{SECRET}@h/d", f"postgresql://u:a@{SECRET}@h/d",
    f"postgresql://u:{SECRET}@[::1/d",
    f"postgresql://u:{SECRET}@h:port/d", f"postgresql://u:{SECRET}/x@h/d", f"postgresql://h/d?{SECRET}=1",
    f"postgresql://u:{SECRET}\0@h/d", f"postgresql://u:{SECRET}\ud800@h/d",
    f"postgresql://u:{SECRET}@h/d%00", f"mysql://u:{SECRET}@h/d", f"u:{SECRET}@h/d",
    f"postgresql+psycopg://u:{SECRET}@h/d",
]  # fmt: skip
REDISES: list[Any] = [
    b"redis://h", 5, object(), "h:6379", "http://h", "redis:h", "unix://", "redis://h/x", "redis://h/0/1",
    "redis://h\0", "redis://h\n", "redis://\ud800", "redis://[::1", "redis://h:99999", "redis://h?no=such",
    "redis://h?socket_timeout=x", "redis://h?db=x", f"redis://u:{SECRET}@h:x",
    f"redis://u:a/{SECRET}@h:6379", f"redis://u:1/{SECRET}@h:6379", f"redis://u:a#{SECRET}@h:6379",
    f"redis://u:a?{SECRET}@h:6379", f"redis://u:{SECRET}/0@h", f"redis://:{SECRET}/@h", f"redis://u:1?{SECRET}=@h",
]  # fmt: skip


def check(error: BaseException) -> None:
    text = str(error)
    assert SECRET not in text
    assert text.isprintable(), ascii(text)
    assert len(text) < 1_000


def test_a_store_url_that_cannot_be_used_is_refused_where_it_is_given() -> None:
    good = Scheduler("sqlite:///never-opened.db")
    for bad in STORES:
        for give in (Scheduler, lambda bad: good.configure(store_url=bad)):
            with pytest.raises(ConfigurationError, match="postgresql://user:pass") as refused:
                give(bad)
            check(refused.value)
            assert refused.value.__cause__ is None
            assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_redis_url_that_cannot_be_used_is_refused_where_it_is_given() -> None:
    for bad in REDISES:
        with pytest.raises(ConfigurationError, match="redis://user:password@host") as refused:
            Scheduler(PG, redis=bad)
        check(refused.value)


def test_a_redis_url_may_have_all_that_redis_py_knows() -> None:
    for url in (
        "redis://h",
        "redis://h:6379/",
        "rediss://h:6379/15?ssl_cert_reqs=none",
        "unix:///a/b?db=3",
        "unix://me:pass@/a/b",
        "redis://:p%2Fq%40r@h/0",
        "redis://[::1]:6379/2?socket_timeout=1.5",
    ):
        Scheduler(PG, redis=url)


@pytest.mark.parametrize("prefix", ["", "a b", "a\n", "*", "x" * 201, None, 5, "\ud800", "fs{1}"])
def test_a_prefix_is_a_name(prefix: Any) -> None:
    with pytest.raises(ConfigurationError, match="redis_prefix=") as refused:
        Scheduler(PG, redis="redis://h", redis_prefix=prefix)
    check(refused.value)


@pytest.mark.parametrize("name", ["FASTSCHED_URL", "FASTSCHED_REDIS_URL"])
def test_the_environment_is_checked_as_the_arguments_are(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bad in STORES if name == "FASTSCHED_URL" else REDISES:
        if not isinstance(bad, str) or not bad.isascii() or "\0" in bad:
            continue
        monkeypatch.setenv(name, bad)
        with pytest.raises(ConfigurationError) as refused:
            Scheduler(None if name == "FASTSCHED_URL" else PG)
        check(refused.value)
        command = ["stats", "--store", PG] if "REDIS" in name else ["stats"]
        result = CliRunner().invoke(commands, command)
        assert result.exit_code == 3
        assert SECRET not in result.output
        assert len(result.stderr.splitlines()) == 1
    monkeypatch.setenv(name, "")
    Scheduler()


@pytest.mark.parametrize(
    "path", ["x" * 300, "d/" * 3_000 + "x", "no/such/folder/x.db", "file.txt/x.db", "folder"]
)
def test_a_path_that_cannot_be_a_file_is_unavailable(tmp_path: Path, path: str) -> None:
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "folder").mkdir()
    scheduler = Scheduler(f"sqlite:///{tmp_path}/{path}")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            scheduler.store_stats()
    scheduler.stop()


@pytest.mark.parametrize(
    "url",
    [
        PG, "postgresql://" + "x" * 300 + "/d", "postgresql://" + "a." * 200 + "/d", "postgresql://ä.invalid/d",
        "postgresql:///d?host=/no/such/folder", "postgresql://127.0.0.1:99999/d", "postgresql://127.0.0.1:0/d",
        "postgresql://127.0.0.1:1/d?sslmode=nonsense", "postgresql://127.0.0.1:1/d?connect_timeout=x",
        "postgresql://127.0.0.1:1,2,3/d", f"postgresql://u:{SECRET}@127.0.0.1:1/" + "d" * 10_000,
    ],
    ids=lambda url: url[:40],
)  # fmt: skip
def test_a_server_that_is_not_there_is_unavailable(url: str) -> None:
    scheduler = Scheduler(url)
    with pytest.raises(StoreUnavailable) as refused:
        scheduler.store_stats()
    assert SECRET not in str(refused.value)
    scheduler.stop()


@settings(max_examples=200, deadline=None)
@given(
    scheme=st.sampled_from(["postgresql", "postgres", "sqlite", "redis", "mysql", ""]),
    before=st.text(max_size=6),
    after=st.text(max_size=6),
    host=st.sampled_from(["@h:5432/db", "@/db?host=/tmp", "@h/db?x=1", "@h:x/db", ""]),
)
def test_no_url_with_a_password_says_it(scheme: str, before: str, after: str, host: str) -> None:
    url = f"{scheme}://user:{before}{SECRET}{after}{host}"
    try:
        shown = repr(Scheduler(url))
    except ConfigurationError as error:
        shown = str(error)
        assert shown.isprintable()
    assert SECRET not in shown or "@" not in host or scheme == "sqlite"
