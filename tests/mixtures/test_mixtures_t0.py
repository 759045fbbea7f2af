"""T0's mixtures, on a promptsource folder of our own and on the published one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flan_jax.data.collections.t0_datasets import CLUSTERS, T0_SETS
from flan_jax.data.sources import base as sources
from flan_jax.data.sources import published
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import MIXTURES, Mixture, get_mixture
from flan_jax.tasks.render import render_split
from mixtures.t0 import MODELS, t0_evaluation, t0_mixture

TEMPLATE = """\
  {id}: !Template
    answer_choices: {choices}
    id: {id}
    jinja: 'Say {id} of {{{{ text }}}} ||| {{{{ ["no", "yes"][label] }}}}'
    metadata: !TemplateMetadata {{choices_in_prompt: false, languages: [en], metrics: [Accuracy], original_task: {original}}}
    name: {name}
    reference: ''
"""


@pytest.fixture(autouse=True)
def chosen_folders() -> Iterator[None]:
    yield
    sources.set_data_dir(None)
    published.set_source_dir(None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file a data set: two templates of the original task, one of another; of quarel the other only."""
    for dataset, subset in T0_SETS:
        path = tmp_path.joinpath("promptsource", "templates", dataset, *([subset] if subset else []))
        path.mkdir(parents=True)
        kinds = [("a", True), ("b", True), ("summarize:", False)] if dataset != "quarel" else [("summarize:", False)]
        entries = (
            TEMPLATE.format(id=f"x{n}", name=f'"{name}"', original=str(original).lower(), choices="no ||| yes")
            for n, (name, original) in enumerate(kinds)
        )
        quoted = f"'{subset}'" if subset else "null"
        (path / "templates.yaml").write_text(f"dataset: {dataset}\nsubset: {quoted}\ntemplates:\n" + "".join(entries))
    sources.set_data_dir(tmp_path)
    return tmp_path


def rates(mixture: Mixture) -> dict[str, float]:
    return {entry.task.name: entry.rate for entry in mixture.entries if entry.rate is not None}


def test_a_data_set_has_the_rates_of_its_prompts(folder: Path) -> None:
    found = rates(t0_mixture())
    assert len(found) == 38
    assert found["p3_glue_mrpc_zs_noopt"] == 3 * 3_668
    assert found["p3_quarel_zs_noopt"] == 1_941
    assert found["p3_amazon_polarity_zs_noopt"] == 3 * (500_000 // 3), "a large one counts as 500,000"
    assert found["p3_gigaword_zs_noopt"] == 2 * (500_000 // 3), "one of its prompts is left out, and its share with it"


def test_ablations_of_prompts(folder: Path) -> None:
    original = t0_mixture("o", prompts="original")
    assert rates(original)["p3_glue_mrpc_zs_noopt_original"] == 2 * 3_668
    assert len(original.entries) == 37, "quarel has no prompt of its original task"
    one = t0_mixture("p", prompts="one")
    assert rates(one)["p3_glue_mrpc_zs_noopt_one"] == 3_668
    (mrpc,) = [entry.task for entry in one.entries if entry.task.name.startswith("p3_glue_mrpc")]
    assert mrpc.drawn_templates == (0,)


def test_what_a_model_is_trained_on_is_not_held_out(folder: Path) -> None:
    held = {
        model: {suite.name for suite in t0_mixture(model, model=model).suites if suite.held_out} for model in MODELS
    }
    assert held["t0"] == {"coreference", "entailment", "sentence_completion", "word_disambiguation"}
    assert held["t0+"] == held["t0"] - {"sentence_completion"}, "T0+ is trained on HellaSwag"
    assert held["t0++"] == {"entailment"}, "T0++ is trained on SuperGLUE but RTE and CB"
    assert [len(t0_mixture(model, model=model).entries) for model in MODELS] == [38, 48, 54]


def test_evaluation_trains_on_nothing(folder: Path) -> None:
    mixture = t0_evaluation()
    assert not mixture.drawn_tasks
    names = [task.name for suite in mixture.suites for task in suite.tasks]
    assert len(names) == 11
    assert {f"p3_anli_{part}_zs_noopt" for part in ("r1", "r2", "r3")} <= set(names)
    assert all(suite.split == "test" for suite in mixture.suites)
    anli = next(task for task in mixture.all_tasks if task.name == "p3_anli_r2_zs_noopt")
    assert dict(anli.spec.source.parts) == {"train": "train_r2", "test": "dev_r2"}


def test_a_checkpoint_can_be_chosen_on_validation_splits(folder: Path) -> None:
    suite = t0_mixture(held_in=True).suites[-1]
    assert (suite.name, suite.split, suite.held_out) == ("held_in", "validation", False)
    assert len(suite.tasks) == 31, "seven data sets have no validation split"


def test_records_without_a_label_are_marked_in_training_alone(folder: Path) -> None:
    mixture = t0_mixture("pp", model="t0++")
    marked = {entry.task.name: entry.task.spec.templates[0].no_label for entry in mixture.entries}
    assert marked["p3_glue_mrpc_zs_noopt"] == "<NO LABEL>"
    assert marked["p3_super_glue_copa_zs_noopt"] == ""


def test_mistakes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model='t5' must be one of t0, t0\+, t0\+\+"):
        t0_mixture(model="t5")
    (tmp_path / "promptsource" / "templates" / "xsum" / "templates.yaml").unlink()
    with pytest.raises(UserError, match=r"xsum/templates.yaml' does not exist"):
        t0_mixture()


def test_every_family_has_a_cluster() -> None:
    assert {data.family for data in T0_SETS.values()} == set(CLUSTERS)
    names = {"t0_train", "t0+_train", "t0++_train", "t0_train_one_og_prompt", "t0_train_all_og_prompts", "t0_eval"}
    assert names <= set(MIXTURES)


@pytest.mark.realdata
def test_over_the_published_templates(realdata: Path) -> None:
    sources.set_data_dir(realdata)
    prompts = {}
    for name in ("t0_train", "t0+_train", "t0++_train", "t0_train_one_og_prompt", "t0_train_all_og_prompts", "t0_eval"):
        mixture = get_mixture(name)
        prompts[name] = (len(mixture.entries), sum(len(entry.task.drawn_templates) for entry in mixture.entries))
    assert prompts == {
        "t0_train": (38, 313),
        "t0+_train": (48, 392),
        "t0++_train": (54, 464),
        "t0_train_one_og_prompt": (35, 35),
        "t0_train_all_og_prompts": (35, 222),
        "t0_eval": (11, 125),
    }
    tasks = get_mixture("t0_eval").all_tasks
    assert {task.predict for task in tasks} == {"rank"}
    assert sum(len(task.scored_templates) for task in tasks) == 116


@pytest.mark.realdata
def test_records_of_a_local_folder_are_scored(realdata: Path) -> None:
    sources.set_data_dir(realdata)
    published.set_source_dir(realdata / "nlp_clusters")
    counts = {}
    for task in get_mixture("t0_eval").all_tasks:
        if task.spec.source.local() is not None and task.name.startswith(("p3_super_glue_copa", "p3_super_glue_wsc")):
            rows = list(render_split(task, "test"))
            assert all(row.targets in row.options for row in rows if row.options)
            counts[task.name] = len(rows)
    # Some prompts of COPA ask for causes only, others for effects: a record whose prompt does not apply is left out.
    assert counts == {"p3_super_glue_copa_zs_noopt": 78, "p3_super_glue_wsc_fixed_zs_noopt": 104}
