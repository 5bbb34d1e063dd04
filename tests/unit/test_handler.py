"""What is known of a handler: its name, its parameters, its options."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastsched import ConfigurationError, JobContext
from fastsched.handler import CallCheck, Handler, kind_of, make_handler, wants_context

if TYPE_CHECKING:
    from somewhere_else import Unknown


def plain(a, b=2):
    pass


def with_context(ctx: JobContext, a):
    pass


class Mailer:
    @staticmethod
    def send(to):
        pass


# The kind ----------------------------------------------------------------------------------------


def test_the_kind_is_module_and_qualified_name():
    assert kind_of(plain) == "unit.test_handler.plain"
    assert kind_of(Mailer.send) == "unit.test_handler.Mailer.send"


@pytest.mark.parametrize("run", ["script", "module"])
def test_a_script_names_its_kinds_as_those_who_import_it_do(tmp_path, run):
    (tmp_path / "mail_jobs.py").write_text(
        "from fastsched.handler import kind_of\n"
        "def send(): pass\n"
        "if __name__ == '__main__': print(kind_of(send))\n"
    )
    how = ["mail_jobs.py"] if run == "script" else ["-m", "mail_jobs"]
    done = subprocess.run(
        [sys.executable, *how], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "mail_jobs.send\n"
    imported = subprocess.run(
        [sys.executable, "-c", "import mail_jobs as m; print(m.kind_of(m.send))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported.stdout == "mail_jobs.send\n"


def test_a_function_inside_a_function_has_no_stable_name():
    def local():
        pass

    for function in (local, lambda: None):
        with pytest.raises(ConfigurationError, match=r"no stable name.*kind="):
            kind_of(function)
    assert make_handler(local, {"kind": "named"}).kind == "named"


# The context -------------------------------------------------------------------------------------


def test_the_context_is_wanted_by_annotating_the_first_parameter():
    assert wants_context(with_context)
    assert not wants_context(plain)

    def first(anything: JobContext):
        pass

    def quoted(ctx: "JobContext"):  # noqa: UP037 - that is the case
        pass

    def beside_an_unknown_name(ctx: JobContext, other: Unknown):
        pass

    def named_only(ctx):
        pass

    assert wants_context(first)
    assert wants_context(quoted)
    assert wants_context(beside_an_unknown_name)
    assert not wants_context(named_only)


def test_a_context_elsewhere_is_refused():
    def second(a, ctx: JobContext):
        pass

    def keyword(*, a, ctx: JobContext):
        pass

    for function in (second, keyword):
        with pytest.raises(ConfigurationError, match="must be the first parameter"):
            wants_context(function)


def test_a_function_without_a_known_signature_is_refused():
    with pytest.raises(ConfigurationError, match="max does not tell its arguments"):
        wants_context(max)


def test_generators_are_refused():
    def one():
        yield

    async def other():
        yield

    for function in (one, other):
        with pytest.raises(ConfigurationError, match="is a generator"):
            make_handler(function, {"kind": "k"})


def test_what_has_no_name_of_its_own_is_refused():
    for function in (functools.partial(plain, 1), Mailer(), 5):
        with pytest.raises(ConfigurationError, match="wrap it in a def"):
            make_handler(function, {"kind": "k"})


# The options -------------------------------------------------------------------------------------


def test_unknown_options_are_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match="unknown option 'retries'; known: backoff, dead"):
        make_handler(plain, {"retries": 5})


@pytest.mark.parametrize("name", ["retry_on", "give_up_on"])
@pytest.mark.parametrize("given", ["ValueError", ValueError(), [ValueError], (ValueError, 5), None])
def test_what_is_retried_are_exception_classes(name, given):
    with pytest.raises(ConfigurationError, match=f"{name}=.*wanted an exception class"):
        make_handler(plain, {name: given})


def test_a_backoff_is_a_function():
    with pytest.raises(ConfigurationError, match=r"backoff=5: wanted a function.*fixed\(5\)"):
        make_handler(plain, {"backoff": 5})


def test_a_registered_deadline_is_a_duration():
    with pytest.raises(ConfigurationError, match=r"function\.options\(deadline="):
        make_handler(plain, {"deadline": datetime.now(UTC)})


@pytest.mark.parametrize("kind", ["", "two words", 5])
def test_a_kind_has_a_plain_name(kind):
    with pytest.raises(ConfigurationError, match="kind="):
        make_handler(plain, {"kind": kind})


# The arguments -----------------------------------------------------------------------------------

NAMES = "abcdef"
KINDS = list(inspect._ParameterKind)


@st.composite
def signatures(draw):
    """Any signature of up to six parameters."""
    parameters = []
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), max_size=6)))
    had_default = False
    for name, kind in zip(NAMES, kinds, strict=False):
        variable = kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        if variable and any(p.kind is kind for p in parameters):
            continue
        default = inspect.Parameter.empty
        positional = kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD
        if not variable and ((positional and had_default) or draw(st.booleans())):
            default, had_default = 0, had_default or positional
        parameters.append(inspect.Parameter(name, kind, default=default))
    return inspect.Signature(parameters)


def handler_of(signature, wants=False):
    def function():
        pass

    function.__signature__ = signature
    return Handler(kind="k", function=function, wants_context=wants)


def fits(check, args, kwargs):
    try:
        check(args, kwargs)
    except TypeError:
        return False
    return True


CALLS = st.tuples(
    st.lists(st.integers(), max_size=6).map(tuple),
    st.dictionaries(st.sampled_from([*NAMES, "x"]), st.integers(), max_size=4),
)


@settings(max_examples=300, deadline=None)
@given(signatures(), CALLS)
def test_a_call_is_taken_exactly_if_it_fits_the_signature(signature, call):
    args, kwargs = call
    expected = fits(lambda a, k: signature.bind(*a, **k), args, kwargs)
    assert fits(CallCheck(handler_of(signature)), args, kwargs) == expected


@settings(max_examples=100, deadline=None)
@given(signatures(), CALLS)
def test_the_context_is_no_argument_of_a_call(signature, call):
    args, kwargs = call
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_ONLY)
    with_it = signature.replace(parameters=[context, *signature.parameters.values()])
    expected = fits(lambda a, k: signature.bind(*a, **k), args, kwargs)
    assert fits(CallCheck(handler_of(with_it, wants=True)), args, kwargs) == expected


def test_a_call_that_does_not_fit_is_refused_with_the_signature():
    check = CallCheck(make_handler(plain, {}))
    for args, kwargs in (((), {}), ((1, 2, 3), {}), ((1,), {"c": 2}), ((1,), {"a": 2})):
        with pytest.raises(TypeError, match=r"^plain\(a, b=2\): "):
            check(args, kwargs)
