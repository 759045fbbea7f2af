"""Rates of Flan 2022 from the counts of its public code, against that code's own arithmetic, without any data.

There a mode is a mixture of (task, template) pairs at min(count, cap), the count by the kind of prompt:
``zero_shot``, or ``five_shot`` and ``x_shot`` with options and ``x_shot`` without (``mixtures_utils.py``).
"""

import csv
from importlib import resources

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.data.collections.t0_datasets import task_name
from flan_jax.data.sources import base as sources
from flan_jax.errors import UserError
from flan_jax.experiments.mixture import mixture_outline
from flan_jax.experiments.rates import mixture_rates
from flan_jax.mixing.mixture import get_mixture
from flan_jax.tasks.spec import Prompted, PromptMode
from mixtures.flan2022.cases import cases_of, our_name, t0_prompts_by_name
from mixtures.flan2022.mixture import CAPS

NOT_HERE = {"lambada", "unified_qa_science_inst"}
COLUMNS = {
    "zsopt": ("zero_shot",),
    "zsnoopt": ("zero_shot",),
    "fsopt": ("five_shot", "x_shot"),
    "fsnoopt": ("x_shot",),
}


@pytest.fixture(autouse=True)
def no_data(tmp_path):
    sources.set_data_dir(tmp_path)
    yield
    sources.set_data_dir(None)


def rows(collection: str) -> list[dict[str, str]]:
    text = resources.files("mixtures.flan2022").joinpath("published_cases.csv").read_text(encoding="utf-8")
    return [row for row in csv.DictReader(text.splitlines()) if row["collection"] == collection]


def of_the_public_code(collection: str, mode: str) -> dict[str, float]:
    """Task → share of the mode, by the public code's names; inverted tasks get 0.3 where the others get 1."""
    shares: dict[str, float] = {}
    groups = [(False, 1.0)] if collection in ("flan2021", "t0") else [(False, 1 / 1.3), (True, 0.3 / 1.3)]
    for inverted, part in groups:
        of_group = [row for row in rows(collection) if ("input_inversion" in row["task"]) == inverted]
        of_group = [row for row in of_group if row["task"] not in NOT_HERE]
        rates = {row["task"]: sum(min(CAPS[collection], int(row[c])) for c in COLUMNS[mode]) for row in of_group}
        shares |= {name: part * rate / sum(rates.values()) for name, rate in rates.items()}
    return shares


def by_name(collection: str, table) -> dict[str, float]:
    """Our table's shares under the public code's names."""
    prompts = {(task_name(p.data.dataset, p.data.subset), p.label): name for name, p in t0_prompts_by_name().items()}
    theirs = {our_name(row["task"]): row["task"] for row in rows(collection)}
    found: dict[str, float] = {}
    for row in table.rows:
        if collection == "t0":
            before, _, label = row.task.partition("_v2_")
            name = prompts[before.removesuffix(f"_{row.mode}"), label]
        else:
            base = row.task.partition("_cot_zs_")[0].partition("_cot_fs_")[0]
            name = theirs[base.partition("_zs_")[0].partition("_fs_")[0]]
        found[name] = found.get(name, 0.0) + row.share
    return found


@pytest.mark.parametrize(
    ("collection", "mode", "name"),
    [
        *(("flan2021", mode, f"flan_{mode}") for mode in COLUMNS),
        *(("t0", mode, f"t0_{mode}") for mode in COLUMNS),
        *((part, mode, f"{part}_{mode}") for part in ("cot", "dialog") for mode in ("zsopt", "fsopt")),
    ],
)
def test_the_total_variation_from_the_public_code_inside_a_mode(collection, mode, name):
    table = mixture_rates(mixture_outline(name), sizes_from="published")
    assert {row.examples_from for row in table.rows} == {"cases"}
    shares, expected = by_name(collection, table), of_the_public_code(collection, mode)
    assert shares.keys() == expected.keys()
    variation = sum(abs(shares[task] - expected[task]) for task in expected) / 2
    # T0's two kinds of few-shot prompt are one task here, and count as their mean.
    assert variation < (2e-5 if (collection, mode) == ("t0", "fsopt") else 1e-12), variation


@pytest.mark.parametrize(("name", "part"), [("flan_zsopt", 0.02), ("flan_fsopt", 0.02)])
def test_whole_data_sets_are_further_away(name, part):
    """What the rates were without these counts: up to so much of the draws stands at other tasks."""
    mode = name.removeprefix("flan_")
    shares = by_name("flan2021", mixture_rates(get_mixture(name)))
    expected = of_the_public_code("flan2021", mode)
    variation = sum(abs(shares[task] - expected[task]) for task in expected) / 2
    assert 1e-4 < variation < part


def test_the_whole_collection_without_a_file_of_anyone():
    table = mixture_rates(mixture_outline("flan2022_submix"), sizes_from="published")
    assert {row.mixture: round(row.share, 6) for row in table.nested} == {
        "flan2021_submix": 0.4,
        "t0_submix": 0.32,
        "niv2_submix": 0.2,
        "cot_submix": 0.05,
        "dialog_submix": 0.03,
    }
    assert table.sizes_from == "1,186 tasks as FLAN's public code counts them"
    assert sum(row.collection == "t0" for row in table.rows) == 4 * 193
    by_task = {row.task: row for row in table.rows}
    # Few of its articles leave room for solved examples.
    assert by_task["multi_news_zs_opt_v2"].examples == 44_960
    assert by_task["multi_news_fs_opt_v2_mixed"].examples == 1_927
    assert by_task["multi_news_fs_opt_v2_matching"].examples == 3_118


def test_an_outline_renders_nothing_and_says_what_is_missing():
    task = mixture_outline("niv2_zsopt").train_tasks[0]
    with pytest.raises(UserError, match="Only the published size is known of a task made from Super-NaturalInstr"):
        task.spec.source.read("train")
    with pytest.raises(UserError, match="DATA_DIR"):
        mixture_outline("t0_zsopt").train_tasks[0].spec.fields({})


@pytest.mark.realdata
def test_prompts_of_t0_are_the_same_tasks_with_and_without_promptsource(realdata):
    outlined = mixture_outline("t0_fsopt").train_tasks
    sources.set_data_dir(realdata)
    whole = get_mixture("t0_fsopt").train_tasks
    assert {task.name: (task.cluster, cases_of(task)) for task in outlined} == {
        task.name: (task.cluster, cases_of(task)) for task in whole
    }


def test_tasks_that_it_has_not_are_not_counted():
    from flan_jax.testing.tasks import PARITY

    assert cases_of(Prompted(PARITY, PromptMode.ZS_OPT)) is None
    assert cases_of("rte") is None
