"""``real_sources``: six published sources, and what is held out of all of them."""

import shutil

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.data.sources import base as sources
from flan_jax.data.sources import published
from flan_jax.errors import UserError
from flan_jax.mixing.parts import parts
from flan_jax.testing.six_sources import six_sources
from mixtures.real_sources import real_sources

SOURCES = ["flan2021", "superni", "cot", "dolly", "oasst", "p3"]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    data, copies = six_sources(tmp_path)
    monkeypatch.setattr(sources, "_chosen_data_dir", data)
    monkeypatch.setattr(published, "_chosen_source_dir", copies)
    return data, copies


def test_six_sources_in_equal_shares_and_two_clusters_held_out(folders):
    mixture = real_sources()
    own = {entry.task.name: [task.spec_name for task in entry.tasks] for entry in mixture.entries}
    assert own == {
        "flan2021": ["copa"],
        "superni": ["task1146_country_capital"],
        "cot": ["cot_creak", "cot_creak_inverted"],
        "dolly": ["dolly_3k"],
        "oasst": ["en_100_tree"],
        "p3": ["p3_ai2_arc_ARC_Easy", "p3_wiqa"],
    }
    weights = mixture.weights({task.name: 50 for task in mixture.train_tasks})
    prompts = parts(mixture)
    assert [sum(weights[task] for task in prompts[part]) / sum(weights.values()) for part in SOURCES] == pytest.approx(
        [1 / 6] * 6
    )
    assert [(suite.name, suite.held_out, suite.clusters, [task.spec_name for task in suite.tasks]) for suite in mixture.suites] == [
        ("validation_clusters", True, ("coreference",), ["wsc"]),
        ("held_out", True, ("entailment",), ["wnli"]),
    ]  # fmt: skip


def test_what_is_near_to_what_is_held_out_is_named_with_its_reason(folders):
    assert {one.task: one.reason for one in real_sources().dropped} == {
        "stsb": "paraphrase is near to entailment",
        "p3_paws_x_en": "paraphrase is near to entailment",
        "p3_super_glue_cb": "entailment is held out",
        "p3_winogrande_winogrande_xl": "coreference is held out",
        "task1364_hans_answer_generation": "it is entailment by another name",
        "task489_mwsc_question_generation": "made from winograd schemas, as wsc",
    }


@pytest.mark.parametrize(
    ("gone", "source"), [("superni", "superni"), ("flan_cot", "cot"), ("dolly", "dolly"), ("p3_t0_rendered", "p3")]
)
def test_a_source_that_is_not_there_is_missed(folders, gone, source):
    shutil.rmtree(folders[0] / gone)
    with pytest.raises(UserError, match=f"'real_sources' finds nothing of {source}: SOURCE_DIR is "):
        real_sources()


def test_a_held_out_cluster_that_is_not_there_is_missed(folders):
    shutil.rmtree(folders[1] / "entailment")
    with pytest.raises(UserError, match=r"cluster or task of mixture 'real_sources'.*entailment"):
        real_sources()


def test_a_data_folder_that_is_not_there_is_said(folders):
    shutil.rmtree(folders[0])
    with pytest.raises(UserError, match=r"DATA_DIR .*data' is not a folder"):
        real_sources()


@pytest.mark.realdata
def test_the_published_sources(realdata, monkeypatch):
    monkeypatch.setattr(sources, "_chosen_data_dir", realdata)
    monkeypatch.setattr(published, "_chosen_source_dir", realdata / "nlp_clusters")
    mixture = real_sources()
    assert {entry.task.name: len(entry.tasks) for entry in mixture.entries} == {
        "flan2021": 27, "superni": 83, "cot": 14, "dolly": 1, "oasst": 1, "p3": 17,
    }  # fmt: skip
    assert [(suite.name, len(suite.tasks)) for suite in mixture.suites] == [("validation_clusters", 5), ("held_out", 5)]
    assert len(mixture.dropped) == 10
