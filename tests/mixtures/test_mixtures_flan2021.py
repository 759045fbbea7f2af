"""Flan 2021's clusters and splits, against what its public code gives.

tests/golden/splits/flan2021.json holds the train and test tasks of 39 splits, as the functions of
``flan/task_splits.py`` in google-research/FLAN at e9e4ec6 return them, under our names.
"""

import json
from pathlib import Path

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.mixing.mixture import MIXTURES, get_mixture
from mixtures.flan2021 import collection

PUBLISHED = json.loads((Path(__file__).parents[1] / "golden" / "splits" / "flan2021.json").read_text())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_split_is_that_of_the_public_code(name):
    mixture = get_mixture(name)
    trained = sorted(task.spec.name for task in mixture.train_tasks)
    (held_out,) = [suite for suite in mixture.suites if suite.name == "held_out"]
    assert trained == PUBLISHED[name]["train"]
    assert sorted(task.spec.name for task in held_out.tasks) == PUBLISHED[name]["test"]


def test_there_are_69_tasks_in_17_clusters():
    specs = collection.specs()
    assert len({spec.name for spec in specs}) == 69
    found = {}
    for spec in specs:
        found.setdefault(spec.cluster, []).append(spec.name)
        assert spec.collection == "flan2021"
    assert {cluster: tuple(tasks) for cluster, tasks in found.items()} == collection.CLUSTERS
    assert len(found) == 17


def test_the_paper_shows_62_data_sets_in_12_clusters():
    one = {task: family for family in collection.RULES.siblings for task in family}
    apart = {"opinion_abstracts_rotten_tomatoes", "opinion_abstracts_idebate"}  # two in the paper's figure
    counts = {
        cluster: len({task if task in apart else one.get(task, task) for task in tasks})
        for cluster, tasks in collection.PAPER_CLUSTERS.items()
    }
    assert counts == {
        "natural_language_inference": 7,
        "commonsense": 4,
        "sentiment": 4,
        "paraphrase": 4,
        "closed_book_qa": 3,
        "struct_to_text": 4,
        "reading_comprehension": 5,
        "reading_comprehension_with_commonsense": 2,
        "coreference": 3,
        "miscellaneous": 7,
        "summarization": 11,
        "translation": 8,
    }
    assert sum(counts.values()) == 62


def test_held_out_tasks_are_scored_by_their_answers_only():
    for name in MIXTURES:
        if name.startswith("flan2021"):
            for suite in get_mixture(name).suites:
                for task in suite.tasks:
                    assert set(task.drawn_templates) <= set(task.scored_templates)


def test_a_mixture_trains_with_so_many_templates():
    for count in collection.SUPERGLUE_TEMPLATES[:-1]:
        mixture = get_mixture(f"flan2021_holdout_superglue_{count}templates")
        assert {len(task.drawn_templates) for task in mixture.train_tasks} == {count}
    assert {len(task.drawn_templates) for task in get_mixture("flan2021_holdout_superglue").train_tasks} == {10}
