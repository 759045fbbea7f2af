"""Digests of functions: what they cover, and that they are the same in every process."""

import dataclasses
import functools
import subprocess
import sys

import pytest

from flan_jax.data.prepare.fingerprints import callable_digest

BEFORE = """
import dataclasses, functools
NAMES = {"b", "a", "c"}
PLAIN = ("x", 1)
@functools.lru_cache
def cached(value): return value + "!"
def helper(value): return value.strip()
def fields(record, scale=2): return [helper(cached(r)) for r in record] + [PLAIN, NAMES, scale]
"""


def digest_in(tmp_path, name, text):
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    command = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {name} as m; "
        "from flan_jax.data.prepare.fingerprints import callable_digest; print(callable_digest(m.fields))"
    )
    return subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "edit",
    [
        ("+ [PLAIN", "+ [[PLAIN]"),
        ("value.strip()", "value.lower()"),  # a helper, named inside a comprehension only
        ('("x", 1)', '("x", 2)'),
        ('"c"}', '"d"}'),
        ("scale=2", "scale=3"),
        ('"!"', '"?"'),  # behind a cache
    ],
)
def test_what_a_function_refers_to_counts(tmp_path, edit):
    after = BEFORE.replace(*edit).replace("[[PLAIN]", "[PLAIN, 0")
    assert after != BEFORE
    assert digest_in(tmp_path, "before", BEFORE) != digest_in(tmp_path, "after", after)


@pytest.mark.parametrize("named", ["from helpers import clean", "import helpers"])
def test_a_helper_in_a_file_beside_counts_and_an_installed_one_does_not(tmp_path, named):
    call = "clean" if named.startswith("from") else "helpers.clean"

    def digest_with(folder, helper):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "helpers.py").write_text(f"def clean(text): return text.{helper}()\n")
        text = f"import sys; sys.path.insert(0, {str(tmp_path / folder)!r})\n{named}\ndef fields(record): return {call}(record)\n"
        return digest_in(tmp_path, "tasks_here", text)

    assert digest_with("project", "strip") != digest_with("project", "lower")
    assert digest_with("project", "strip") == digest_with("elsewhere", "strip")
    assert digest_with("site-packages", "strip") == digest_with("site-packages", "lower")


def test_the_digest_is_the_same_in_every_process(tmp_path):
    # Sets print in another order where strings hash otherwise.
    assert len({digest_in(tmp_path, "same", BEFORE) for _ in range(3)}) == 1


def make(captured):
    def fields(record):
        return {"x": captured}

    return fields


def takes(record, n):
    return {"x": n}


@dataclasses.dataclass(frozen=True)
class Fields:
    n: int = 1

    def __call__(self, record):
        return {"x": self.n}


def test_captured_and_bound_values_count():
    assert callable_digest(make("a")) == callable_digest(make("a"))
    assert callable_digest(make("a")) != callable_digest(make("b"))
    assert callable_digest(functools.partial(takes, n=1)) == callable_digest(functools.partial(takes, n=1))
    assert callable_digest(functools.partial(takes, n=1)) != callable_digest(functools.partial(takes, n=2))
    assert callable_digest(Fields()) == callable_digest(Fields(1)) != callable_digest(Fields(2))


def circular(record):
    return TABLE["circular"](record)


TABLE = {"circular": circular}


def test_a_table_of_functions_may_go_in_circles():
    assert callable_digest(circular)


def test_functions_without_source_have_digests():
    space: dict = {}
    exec("def one(r): return r\ndef two(r): return [r]", space)
    assert callable_digest(space["one"]) != callable_digest(space["two"])
    assert callable_digest(dict) != callable_digest(list)
