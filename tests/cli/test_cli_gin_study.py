"""Studies from gin: every shipped sweep resolves and expands, and what is no study says so."""

import re
from pathlib import Path

import pytest

from flan_jax.cli import gin_config
from flan_jax.data.sources import base as sources
from flan_jax.data.sources import published
from flan_jax.errors import UserError
from flan_jax.studies.expand import check_plan, expand
from flan_jax.studies.factors.base import Factor
from flan_jax.studies.options import gin_lines
from flan_jax.testing.folders import chat_model
from flan_jax.testing.six_sources import six_sources

# Every shipped study, of some a shorter one: number of its runs, and the levels of the last.
SWEEPS = {
    "sweeps/balancing.gin": (24, {"rates": "proportional", "cap": 3000, "temperature": 2.0, "seed": 2}),
    "sweeps/clusters.gin": (16, {"clusters": 11, "order": 0}),
    "sweeps/few_shot_and_inversion.gin": (18, {"few_shot_share": 0.5, "inversion": False, "seed": 2}),
    "sweeps/flan_laptop.gin": (61, {"arm": "pretraining", "pretraining": "none", "seed": 2}),
    "sweeps/instructions.gin": (9, {"modes": "no_template", "seed": 2}),
    "sweeps/learning_rate.gin": (8, {"draw": 1, "learning_rate": 2.5e-3}),
    "sweeps/leave_one_cluster_out.gin": (36, {"left_out": "dialogue", "seed": 2}),
    "sweeps/mini_weights.gin": (16, {"draw": 3}),
    "sweeps/mini_weights_designed.gin": (30, {"draw": 23}),
    "sweeps/real_sources.gin": (22, {"arm": "tuning", "tuning": "none"}),
    "sweeps/real_sources_lora.gin": (22, {"arm": "tuning", "tuning": "none"}),
    "sweeps/real_sources_weights.gin": (8, {"draw": 3}),
    "sweeps/tasks_per_cluster.gin": (12, {"clusters": 11, "tasks_per_cluster": 2, "seed": 2}),
    "sweeps/templates_per_task.gin": (12, {"templates": 8, "seed": 2}),
}

# Fewer draws say the same of the file.
SHORTER = {
    "sweeps/learning_rate.gin": ("study.draws=2",),
    "sweeps/mini_weights.gin": ("study.draws=4",),
    "sweeps/mini_weights_designed.gin": ("Dirichlet.candidates=60",),
    "sweeps/real_sources_weights.gin": ("study.draws=4",),
}


def load(name: str, *bindings: str):
    return gin_config.load_study([name], bindings, study_dir="studies/s")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What studies of published data have to be told: where it is, the words, a model to begin with."""
    root = tmp_path_factory.mktemp("published")
    data, copies = six_sources(root)
    chat_model(root / "chat")
    named = [f"DATA_DIR={data}", f"SOURCE_DIR={copies}"]
    return {
        "sweeps/real_sources.gin": [*named, "VOCABULARY=bytes"],
        "sweeps/real_sources_weights.gin": [*named, "VOCABULARY=bytes"],
        "sweeps/real_sources_lora.gin": [*named, f"INITIAL_CHECKPOINT_PATH={root / 'chat'}"],
    }


def test_every_shipped_sweep_is_listed_here():
    root = gin_config.shipped_gin_dir()
    assert sorted(path.relative_to(root).as_posix() for path in (root / "sweeps").glob("*.gin")) == sorted(SWEEPS)


@pytest.mark.parametrize("name", sorted(SWEEPS))
def test_a_shipped_sweep_becomes_runs(name, folders, monkeypatch):
    monkeypatch.setattr(sources, "_chosen_data_dir", None)  # a study that names them sets both for its process
    monkeypatch.setattr(published, "_chosen_source_dir", None)
    found = load(name, *folders.get(name, ()), *SHORTER.get(name, ()))
    plans = expand(found.study, found.base)
    assert found.base.model_dir == "studies/s/runs/base"
    assert found.study.name == name.removeprefix("sweeps/").removesuffix(".gin")
    assert (len(plans), plans[-1].levels) == SWEEPS[name]
    suite = found.study.objective.partition("/")[0]
    assert suite in (found.base.evaluation.suites or ())
    for plan in (plans[0], plans[len(plans) // 2], plans[-1]):
        check_plan(found.base, plan)
    assert "study" not in found.operative


def test_a_macro_names_the_option_that_it_sets():
    found = load("sweeps/learning_rate.gin", "study.draws=2", "Values.option=LEARNING_RATE")
    last = expand(found.study, found.base)[-1]
    assert last.levels == SWEEPS["sweeps/learning_rate.gin"][1]
    assert last.options["OptimizerConfig.learning_rate"] == 2.5e-3
    assert "Values.option = 'OptimizerConfig.learning_rate'" in found.text
    sentence = "varies the macro LOG_PERIOD, which sets 2 options: run.log_period, run.microbatches"
    with pytest.raises(UserError, match=sentence):
        load("sweeps/learning_rate.gin", "Values.option=LOG_PERIOD", "run.microbatches=%LOG_PERIOD")


def test_factors_of_one_kind_have_scopes():
    found = load("sweeps/few_shot_and_inversion.gin", "few_shot/Values.values=(0.5,)")
    assert [factor.values for factor in found.study.factors[:2]] == [(0.5,), (True, False)]


@pytest.mark.parametrize(
    ("name", "binding", "sentence"),
    [
        ("runs/quickstart.gin", "run.seed=1", "None of runs/quickstart.gin describes a study"),
        ("sweeps/clusters.gin", "MODEL_DIR=a", "a study gives each run its own. Leave it out"),
        ("sweeps/clusters.gin", "study.drows=3", "Did you mean 'draws'"),
        ("sweeps/clusters.gin", "study.draws=2.5", "study.draws is 2.5; it must be a whole number"),
        ("sweeps/clusters.gin", "study.draws=2", "no factor is drawn"),
        ("sweeps/clusters.gin", "Seeds.count=3", r"Nothing in this run reads Seeds\.count"),
        ("sweeps/clusters.gin", "NumberOfClusters.counts=3", "it must be a tuple of a whole number"),
        ("sweeps/mini_weights.gin", "Dirichlet.over=cluster", "Did you mean 'clusters'"),
        ("sweeps/mini_weights.gin", "study.factors=(@Dirichlet,)", "study.factors is"),
    ],
)
def test_what_is_no_study_is_refused(name, binding, sentence):
    with pytest.raises(UserError, match=sentence):
        load(name, binding)


def test_a_study_is_no_run():
    with pytest.raises(
        UserError, match=r"sweeps/clusters\.gin, line 10 describes a study, .* `flan-jax sweep` runs it"
    ):
        gin_config.load(["sweeps/clusters.gin"], ["MODEL_DIR=runs/a"])


GUIDE = (Path(__file__).parents[2] / "docs/guide/studies.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("file", "runs"), [("clusters_out.gin", 36), ("balance.gin", 12), ("arms.gin", 16)])
def test_the_guide_s_studies_have_as_many_runs_as_it_says(file, runs, tmp_path):
    (text,) = re.findall(rf"^```gin\n# {re.escape(file)}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    (tmp_path / file).write_text(text, encoding="utf-8")
    found = load(str(tmp_path / file))
    assert len(expand(found.study, found.base)) == runs
    assert str(runs) in GUIDE.partition(text)[2].partition("\n\n|")[0]


def test_the_guide_names_every_sweep_factor_and_setting():
    assert all(f"`{name}`" in GUIDE for name in SWEEPS)
    study = gin_config.StudyConfig
    for kind in (study, gin_config.Dirichlet):
        prefix = "study." if kind is study else ""
        missing = [name for name in kind.__dataclass_fields__ if f"`{prefix}{name}`" not in GUIDE]
        assert not missing, f"docs/guide/studies.md does not name {missing} of {kind.__name__}"
    kinds = [kind for kind in vars(gin_config).values() if isinstance(kind, type) and issubclass(kind, Factor)]
    assert len(kinds) > 10
    assert not [kind.__name__ for kind in kinds if f"`@{kind.__name__}()`" not in GUIDE]


def test_what_a_run_of_a_study_wrote_down_is_read_and_gone_on_from(tmp_path):
    """Its own options stand behind the base run's, whose macros nothing reads then."""
    found = load("sweeps/mini_weights.gin", "study.draws=4")
    plan = expand(found.study, found.base)[1]
    folder = tmp_path / "run_0001"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    own = gin_lines({**plan.options, "keep": ("sentiment",), "store": "studies/s/store"})
    (folder / "config.gin").write_text(f"{found.operative}\n{own}\n", encoding="utf-8")
    again = tmp_path / "again.gin"
    again.write_text(f"include '{folder}/config.gin'\nrun.model_dir = 'runs/again'\n", encoding="utf-8")
    config = gin_config.load([str(again)], []).config
    assert (config.model_dir, config.data.store, config.mixing.keep) == (
        "runs/again",
        "studies/s/store",
        ("sentiment",),
    )
    assert config.mixing.weights == plan.weights
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="Nothing in this run reads the gin macro KEEP"):
        gin_config.load([str(again)], [])
