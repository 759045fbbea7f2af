"""Flan 2022's mixtures against the public code's weights, caps and counts, and the paper's proportions.

Expected shares are added up here from ``published_cases.csv`` with plain arithmetic:
share = weight of the collection / its modes x min(cases, cap) / sum over the tasks of the mode.
"""

import dataclasses
import json
import os
from pathlib import Path

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.data.collections.superni import label
from flan_jax.data.sources import base as sources
from flan_jax.mixing.mixture import MIXTURES, get_mixture
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.spec import PromptMode
from flan_jax.tasks.style import FLAN_2022
from mixtures.flan2022 import mixture as flan2022
from mixtures.flan2022.cases import our_name, published_cases

GOLDEN = Path(__file__).parents[1] / "golden" / "rates" / "flan2022.json"
NOT_HERE = {"lambada", "unified_qa_science_inst"}  # of UnifiedQA and LAMBADA, which Flan 2021 does not have


def test_every_published_task_is_here_and_as_large():
    different = {}
    for collection in ("flan2021", "cot", "dialog"):
        for name, (cases, _, _) in published_cases()[collection].items():
            if name in NOT_HERE:
                continue
            count = TASKS.get(our_name(name)).source.count("train")
            # The public code puts templates on batches of ten, and what does not fill one is lost.
            if count is not None and not -10 <= min(count, 30_000) - min(cases, 30_000) <= 10:
                different[our_name(name)] = min(count, 30_000) - min(cases, 30_000)
    assert different.pop("arc_easy") == 11
    # Sentences that have nothing to mend are left out, which only reading them shows.
    assert different.pop("true_case") > 0
    assert different.pop("fix_punct") > 0
    # Its chains of thought have no validation data; a tenth, 200 at most, is kept for it here.
    assert all(name.startswith("cot_") and -200 <= less < 0 for name, less in different.items()), different


@pytest.mark.parametrize("collection", ["flan2021", "cot", "dialog"])
def test_shares_inside_a_submixture_are_those_of_the_public_code(collection):
    mixture = get_mixture(f"{collection}_submix")
    cases = {
        our_name(name): counts.zero_shot
        for name, counts in published_cases()[collection].items()
        if name not in NOT_HERE
    }
    sizes = {task.name: cases[task.spec.name] for task in mixture.train_tasks}
    shares = mixture.weights(sizes)
    cap = {"flan2021": 30_000, "cot": 100_000, "dialog": 200_000}[collection]
    modes = 4 if collection == "flan2021" else 2
    groups = {False: 1 / 1.3, True: 0.3 / 1.3} if collection != "flan2021" else {False: 1.0}
    for entry in mixture.entries:
        for inverted, part in groups.items():
            names = [name for name in cases if name.endswith("_inverted") == inverted]
            total = sum(min(cap, cases[name]) for name in names)
            for name in names:
                prompts = [task.name for task in entry.tasks if task.spec.name == name]
                share = sum(shares[prompt] for prompt in prompts)
                assert share == pytest.approx(part / modes * min(cap, cases[name]) / total), (entry.task.name, name)


def test_prompts_with_options_are_set_in_the_styles_of_2022():
    for task in get_mixture("flan_zsopt").train_tasks:
        assert task.style == FLAN_2022
        assert task.mode is PromptMode.ZS_OPT
    kinds = {(task.few_shot.shots, task.few_shot.templates) for task in get_mixture("flan_fsopt").train_tasks}
    assert kinds == {(5, "mixed"), (25, "matching")}
    assert {task.few_shot.templates for task in get_mixture("flan_fsnoopt").train_tasks} == {"matching"}
    assert all(task.mode.reasons == bool(task.spec.cot_templates) for task in get_mixture("cot_fsopt").train_tasks)


def test_the_weights_that_circulate_are_named():
    assert flan2022.PUBLIC_CODE == {"flan2021": 0.40, "t0": 0.32, "niv2": 0.20, "cot": 0.05, "dialog": 0.03}
    assert sum(flan2022.PUBLIC_CODE.values()) == pytest.approx(1)
    assert {name: round(100 * share) for name, share in flan2022.PROPORTION_A.items()} == {
        "flan2021": 52,
        "t0": 15,
        "cot": 3,
        "niv2": 30,
    }
    assert sum(flan2022.PROPORTION_B.values()) == pytest.approx(1, abs=2e-3)  # the paper rounds
    for name in flan2022.VARIANTS:
        assert name in MIXTURES


def test_without_inversion_every_target_is_the_answer():
    recipe = flan2022.Variant(inversion=False)
    for collection in ("flan2021", "cot", "dialog"):
        for task in flan2022.submix(collection, recipe).train_tasks:
            assert set(task.drawn_templates) <= set(task.scored_templates)
            assert not task.spec.name.endswith("_inverted")


def test_without_few_shot_no_solved_example_is_shown():
    for task in flan2022.submix("flan2021", flan2022.Variant(few_shot=False)).train_tasks:
        assert not task.mode.few_shot


@pytest.mark.parametrize("name", ["flan2022_submix", "flan2022_no_t0"])
def test_missing_data_is_named(name, tmp_path):
    sources.set_data_dir(tmp_path)
    try:
        with pytest.raises(ValueError, match="does not exist"):
            get_mixture(name)
    finally:
        sources.set_data_dir(None)


@pytest.mark.realdata
def test_the_rates_of_the_whole_collection(realdata):
    """The table of ``flan2022_submix`` over the files at hand, every size the published one where there is one."""
    sources.set_data_dir(realdata)
    try:
        assert len(get_mixture("t0_zsopt").train_tasks) == 193
        made = {name: get_mixture(name) for name in flan2022.VARIANTS}
        table = {name: shares(mixture, realdata) for name, mixture in made.items()}
    finally:
        sources.set_data_dir(None)
    whole = table["flan2022_submix"]
    assert {name: share for name, share in whole.items() if "/" not in name} == {
        "flan2021_submix": 0.4,
        "t0_submix": 0.32,
        "niv2_submix": 0.2,
        "cot_submix": 0.05,
        "dialog_submix": 0.03,
    }
    assert whole["flan2021_submix/flan_zsopt"] == whole["flan2021_submix/flan_fsnoopt"] == 0.1
    assert whole["t0_submix/t0_fsopt"] == 0.08
    assert whole["cot_submix/cot_zsopt"] == 0.025

    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    assert table == json.loads(GOLDEN.read_text(encoding="utf-8"))


def shares(mixture, folder) -> dict[str, float]:
    """Share of every nested mixture, two levels deep, to six digits."""
    meta = {
        label(row["task"]): row["number_examples"]
        for row in map(json.loads, (folder / "superni" / "natinst_meta.jsonl").open())
    }
    cases = {
        our_name(name): counts.zero_shot
        for part in ("flan2021", "cot", "dialog")
        for name, counts in published_cases()[part].items()
    }

    def size(task):
        known = cases.get(task.spec.name) or meta.get(task.spec.name)
        return known or task.spec.source.count("train") or 1

    sizes = {task.name: size(task) for task in mixture.train_tasks}
    found = {name: round(share, 6) for name, share in mixture.entry_weights(sizes).items()}
    for entry in mixture.entries:
        whole = mixture.entry_weights(sizes)[entry.task.name]
        for name, share in entry.task.entry_weights(sizes).items():
            found[f"{entry.task.name}/{name}"] = round(whole * share, 6)
    return found


def test_a_task_of_a_collection_is_one_object_in_every_mode():
    by_name = {}
    for name in ("flan_zsopt", "flan_fsopt", "flan_zsnoopt", "flan_fsnoopt"):
        for task in get_mixture(name).train_tasks:
            assert by_name.setdefault(task.name, task) == task
            assert dataclasses.replace(task) == task
