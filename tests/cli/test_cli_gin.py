"""gin at the edge: every shipped file resolves, names are checked, values arrive."""

import json
import os
from pathlib import Path

import pytest

from flan_jax.cli import gin_config
from flan_jax.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "configs"
LENGTHS = "TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}"
FINETUNE = ("MIXTURE_OR_TASK_NAME=mini", "MODEL_DIR=runs/a", "TRAIN_STEPS=10", LENGTHS)
# Every shipped run with what it needs to resolve.
RUNS = {
    "runs/quickstart.gin": ((), ()),
    "runs/finetune.gin": (("models/t5_mini.gin",), FINETUNE),
    "runs/eval.gin": (
        ("models/t5_tiny.gin",),
        ("CHECKPOINT_PATH=runs/a", "EVAL_OUTPUT_DIR=runs/b", "MIXTURE_OR_TASK_NAME=mini", LENGTHS),
    ),
    "runs/flan_local.gin": ((), ("VOCABULARY=bytes", "MODEL_DIR=runs/l", "HOLD_OUT=entailment,math")),
    "runs/superni.gin": ((), ("VOCABULARY=bytes", "MODEL_DIR=runs/s")),
}


def resolve(name: str, *, extra: tuple[str, ...] = ()):
    models, bindings = RUNS[name]
    return gin_config.load([*models, name], [*bindings, *extra])


def shipped(folder: str) -> list[str]:
    root = gin_config.shipped_gin_dir()
    return sorted(path.relative_to(root).as_posix() for path in (root / folder).glob("*.gin"))


def test_every_shipped_run_is_listed_here():
    assert shipped("runs") == sorted(RUNS)


@pytest.mark.parametrize("name", sorted(RUNS))
def test_resolved_config_is_golden(name):
    resolved = json.loads(json.dumps(resolve(name).config.resolved()))
    path = GOLDEN / f"{Path(name).stem}.json"
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(resolved, indent=1) + "\n", encoding="utf-8")
    assert resolved == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("model", shipped("models"))
def test_every_model_file_resolves(model):
    config = gin_config.load([model, "runs/finetune.gin"], FINETUNE).config
    assert config.model.vocab_size % 128 == 0


def test_the_operative_config_resolves_to_the_same_run(tmp_path):
    first = resolve("runs/quickstart.gin", extra=("TRAIN_STEPS=70", "EvalConfig.max_examples=3"))
    saved = tmp_path / "config.gin"
    saved.write_text(first.operative, encoding="utf-8")
    again = gin_config.load([str(saved)])
    assert again.config == first.config
    assert again.config.steps == 70
    assert again.config.eval.max_examples == 3


def test_later_files_and_bindings_win(tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text("include 'runs/quickstart.gin'\nBATCH_SIZE = 8\nTRAIN_STEPS = 60\n", encoding="utf-8")
    config = gin_config.load([str(mine)], ["TRAIN_STEPS=70"]).config
    assert (config.batch_size, config.steps) == (8, 70)


def test_search_paths(tmp_path):
    (tmp_path / "own.gin").write_text("include 'runs/quickstart.gin'\nBATCH_SIZE = 4\n", encoding="utf-8")
    assert gin_config.load(["own.gin"], (), [str(tmp_path)]).config.batch_size == 4


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        ("TRIAN_STEPS=5", "Did you mean 'TRAIN_STEPS'"),
        ("OptimizerConfig.learning_rat=1", "Did you mean 'learning_rate'"),
        ("OptimiserConfig.name='adamw'", "Did you mean 'OptimizerConfig'"),
        ("run.batchsize=1", "Did you mean 'batch_size'"),
        ("OptimizerConfig.name=adamv", "Did you mean 'adamw'"),
        ("TRAIN_STEPS=many", "total_steps is 'many'"),
        ("TRAIN_STEPS=[", "is not valid gin"),
        ("MIXTURE_OR_TASK_NAME=mimi", "Did you mean 'mini'"),
        ("TASK_FEATURE_LENGTHS={'input': 3, 'targets': 4}", "Did you mean 'inputs'"),
        ("run.mixture=%gin.REQUIRED", "mixture"),
    ],
)
def test_wrong_bindings_are_one_clear_sentence(binding, expected):
    with pytest.raises(UserError, match=expected.replace("'", ".")) as caught:
        resolve("runs/quickstart.gin", extra=(binding,))
    assert "\n" not in str(caught.value)


def test_a_macro_without_a_value_is_named():
    with pytest.raises(UserError, match="TRAIN_STEPS has no value"):
        gin_config.load(
            ["models/t5_tiny.gin", "runs/finetune.gin"], ["MODEL_DIR=a", "MIXTURE_OR_TASK_NAME=mini", LENGTHS]
        )


def test_an_unknown_file_suggests_a_shipped_one():
    with pytest.raises(UserError, match=r"Did you mean 'runs/finetune\.gin'"):
        gin_config.load(["runs/fintune.gin"])


def test_a_misspelt_include_is_named(tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text("include 'runs/quikstart.gin'\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"runs/quikstart.gin.*Did you mean 'runs/quickstart.gin'"):
        gin_config.load([str(mine)])


def test_how_an_evaluation_writes_is_bound_like_the_rest():
    bindings = ("EvalConfig.decoding=@DecodingConfig()", "DecodingConfig.method=beam", "DecodingConfig.beams=4")
    found = resolve("runs/quickstart.gin", extra=bindings).config.eval.decoding
    assert (found.method, found.beams, found.length_penalty) == ("beam", 4, 1.0)
    assert resolve("runs/quickstart.gin").config.eval.decoding.method == "greedy"
    with pytest.raises(UserError, match="beams"):
        resolve("runs/quickstart.gin", extra=("EvalConfig.decoding=@DecodingConfig()", "DecodingConfig.beam=4"))
