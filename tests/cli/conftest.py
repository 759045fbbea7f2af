"""The command line, called in this process, and a module of a user's own tasks."""

import dataclasses
import importlib
import sys
import textwrap

import pytest
from fewer_devices import fewer_devices

from flan_jax.cli.main import main
from flan_jax.data.sources import base as sources
from flan_jax.data.sources import published


@pytest.fixture(scope="module", autouse=True)
def few_devices(request):
    """A run that names no mesh has one device, or as many as the file says."""
    with fewer_devices(getattr(request.module, "DEVICES", 1)):
        yield


# What a user's own module looks like: two tasks from records in the file, one mixture of them.
OWN_TASKS = """
from flan_jax.data.sources.generated import generated
from flan_jax.mixing.mixture import Entry, Mixture, Suite, register_mixture
from flan_jax.mixing.policies import Equal
from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec, Template


def records(split):
    offset = {"train": 0, "validation": 100, "test": 200}[split]
    return [{"number": str(offset + i), "label": ("even", "odd")[i % 2]} for i in range(24)]


PARITY = register(TaskSpec(
    name="own_parity", cluster="own_numbers", source=generated("own_parity", records, version=1),
    fields=dict, slots=("number", "label"), answer="label", options=("even", "odd"),
    templates=(Template("Is {number} even or odd?"), Template("{options} Which is {number}?")),
))
MIXTURE = register_mixture("own_mixture", lambda: Mixture(
    "own_mixture", (Entry(Prompted(PARITY)), Entry(Prompted(PARITY, PromptMode.ZS_NOOPT))), policy=Equal(),
    suites=(Suite("held_in", (Prompted(PARITY),)),), vocabulary="bytes",
))
"""


@pytest.fixture(scope="session")
def own_tasks():
    return OWN_TASKS


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys, monkeypatch):
    """Runs ``flan-jax`` with these arguments and returns exit code and output; the folders it chose are forgotten."""
    monkeypatch.setattr(sources, "_chosen_data_dir", None)
    monkeypatch.setattr(published, "_chosen_source_dir", None)

    def run(*arguments: str) -> Outcome:
        code = main(list(arguments))
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def refused(cli):
    """Runs ``flan-jax``, which must refuse with one clear sentence and exit code 2; returns the sentence."""

    def run(*arguments: str) -> str:
        outcome = cli(*arguments)
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert outcome.code == 2, outcome.err
        assert len(lines) == 1
        assert "Traceback" not in outcome.err
        return lines[0].removeprefix("error: ")

    return run


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module, unloads it and what it registered afterwards, and returns its name."""
    import mixtures  # noqa: F401  (what ships is there before, so it stays)
    from flan_jax.mixing.mixture import MIXTURES
    from flan_jax.tasks import user_modules
    from flan_jax.tasks.catalog import TASKS

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(user_modules, "_imported", {})
    registries = [(registry, dict(registry._items)) for registry in (TASKS, MIXTURES)]
    names: list[str] = []

    def write(text: str, name: str = "own_tasks") -> str:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        for registry, items in registries:
            registry._items = dict(items)
        names.append(name)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)
    for registry, items in registries:
        registry._items = items
