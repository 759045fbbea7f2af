"""``flan-jax tasks``: what is said of a task, what is left out, how it is laid out."""

import json

import pytest

import mixtures  # noqa: F401  (registered before a test's own module is, and so still there after it)
from flan_jax.cli.commands.tasks import families, family_lines

# Three tasks of a collection: one published, one that reasons, one that is measured only.
COLLECTION = """
import dataclasses
from flan_jax.data.sources.published import published

PUBLISHED = register(dataclasses.replace(
    PARITY, name="own_published", cluster="own_far", collection="own",
    source=published("somebody/numbers", None, train="train[:-200]", sizes={"train": 1200}, folders=("own_published",)),
    templates=(*PARITY.templates, Template("Name a number that is {answer}.", "{number}", inverted=True)),
    other_metrics=("f1_of:even",),
))
REASONED = register(dataclasses.replace(
    PARITY, name="own_reasoned", collection="own", options=(), predict="generate", rationale="number",
    templates=PARITY.templates[:1],
    cot_templates=(Template("Think of {hint}.", "{number} so {answer}"),), slots=("number", "label", "hint"),
    fields=lambda record: {**record, "hint": "it"},
))
MEASURED = register(dataclasses.replace(
    PARITY, name="own_measured", collection="own", source=generated("own_measured", records, 1, splits=("test",)),
))
"""
IMPORT = ("--module_import", "own_tasks")


@pytest.fixture
def listed(cli, module, own_tasks):
    """Registers the tasks; runs ``tasks`` and returns its JSON."""
    module(own_tasks + COLLECTION)
    return lambda *arguments: json.loads(cli("tasks", *arguments, *IMPORT, "--json").out)


def test_json_says_everything(listed):
    rows = {row["name"]: row for row in listed("own_")["tasks"]}
    assert list(rows) == ["own_published", "own_measured", "own_reasoned", "own_parity"]
    assert rows["own_published"] == {
        "name": "own_published",
        "task": "own_published",
        "collection": "own",
        "cluster": "own_far",
        "modes": ["zs_opt", "zs_noopt", "fs_opt", "fs_noopt", "no_template", "dataset_name"],
        "templates": 3,
        "inverted": 1,
        "cot_templates": 0,
        "metric": "accuracy",
        "other_metrics": ["f1_of:even"],
        "predict": "rank",
        "options": ["even", "odd"],
        "splits": ["train"],
        "source": "Hugging Face data set 'somebody/numbers'@main",
        "examples": 1000,
    }
    assert rows["own_measured"]["modes"] == ["zs_opt", "zs_noopt", "no_template", "dataset_name"]
    assert len(rows["own_reasoned"]["modes"]) == 10
    assert rows["own_reasoned"]["cot_templates"] == 1
    assert rows["own_parity"]["examples"] is None


def test_filters(listed):
    def names(*arguments):
        found = listed(*arguments)
        return [row["name"] for row in found["tasks"]], found["mixtures"]

    assert names("own_*e*", "--collection", "own") == (["own_published", "own_measured", "own_reasoned"], [])
    assert names("--cluster", "own_far") == (["own_published"], [])
    assert names("reasoned", "--cluster", "own_numbers") == (["own_reasoned"], [])
    assert names("own_mix") == ([], ["own_mixture"])


def test_the_table(cli, module, own_tasks):
    module(own_tasks + COLLECTION)
    outcome = cli("tasks", "own_", *IMPORT)
    assert outcome.out.splitlines() == [
        "    task           tmpl  inv  cot  metric       answers   modes           splits          examples",
        "",
        "own: 3 tasks",
        "  own_far",
        "    own_published     3    1    –  accuracy +1  rank 2    zs fs base      train              1,000",
        "  own_numbers",
        "    own_measured      2    –    –  accuracy     rank 2    zs base         test                   –",
        "    own_reasoned      1    –    1  accuracy     generate  zs fs cot base  train val test         –",
        "",
        "of no collection: 1 task",
        "  own_numbers",
        "    own_parity        2    –    –  accuracy     rank 2    zs fs base      train val test         –",
        "",
        "tmpl, inv, cot: templates, those of them that are inverted, and those that reason first. Modes: zs = zs_opt, zs_noopt;",
        "fs = fs_opt, fs_noopt; cot = cot_zs_opt, cot_zs_noopt, cot_fs_opt, cot_fs_noopt; base = no_template, dataset_name.",
        "Examples: the training split as published.",
        "",
        "1 mixture",
        "  own_mixture",
    ]
    long = cli("tasks", "own_published", "--long", *IMPORT).out.splitlines()
    assert "        metrics: accuracy, f1_of:even" in long
    assert "        options: even | odd" in long
    assert "        source: Hugging Face data set 'somebody/numbers'@main" in long


@pytest.mark.parametrize("long", [(), ("--long",)])
def test_everything_that_ships_fits_its_columns(cli, long):
    lines = cli("tasks", *long).out.splitlines()
    assert len(lines) > 100
    assert [line for line in lines if len(line) > 120 and not line.lstrip().startswith("source:")] == []


def test_every_mixture_is_named_once(cli):
    from flan_jax.mixing.mixture import MIXTURES

    rebuilt = [shared + rest for shared, found in families(MIXTURES).items() for rest in found]
    assert sorted(rebuilt) == list(MIXTURES)
    lines = "\n".join(family_lines(MIXTURES))
    assert "flan2021_intra_cluster_*: 0 to 9" in lines
    assert len(lines.splitlines()) < len(MIXTURES) / 2


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a_1", "a_2", "a_3"], ["  a_*: 1 to 3"]),
        (["a_1", "a_2", "a_4"], ["  a_*: 1, 2, 4"]),
        (["a_1", "a_2"], ["  a_1, a_2"]),
        (["a_b_1", "a_b_2", "a_b_3", "a_c"], ["  a_c", "  a_b_*: 1 to 3"]),
        (["_", "__", "a_", "x"], ["  _, __, a_, x"]),
    ],
)
def test_families(names, expected):
    assert family_lines(names) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--collection", "flan2012"), "No task has the collection 'flan2012'. Did you mean 'flan2021'"),
        (("--cluster", "own_number"), "Did you mean 'own_numbers'"),
        (("own_party",), "No task or mixture matches 'own_party'. Did you mean 'own_parity'"),
        (("own_parity", "--collection", "own"), "in that cluster or collection"),
    ],
)
def test_what_is_not_there(refused, module, own_tasks, arguments, expected):
    module(own_tasks + COLLECTION)
    assert expected in refused("tasks", *arguments, *IMPORT)
