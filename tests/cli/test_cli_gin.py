"""gin at the edge: every shipped file resolves, names are checked, values arrive."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

import mixtures  # noqa: F401  (registers what ships)
from flan_jax.cli import gin_config
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import MIXTURES
from flan_jax.models import build, published
from flan_jax.models import decoder_presets as decoder_presets
from flan_jax.models.t5 import presets as t5_presets
from flan_jax.models.t5gemma import presets as t5gemma_presets
from flan_jax.testing.folders import chat_model

GOLDEN = Path(__file__).parents[1] / "golden" / "configs"
LENGTHS = "TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}"
FINETUNE = ("MIXTURE_OR_TASK_NAME=mini", "MODEL_DIR=runs/a", "TRAIN_STEPS=10", LENGTHS)
# Every shipped run with what it needs to resolve.
RUNS = {
    "runs/quickstart.gin": ((), ()),
    "runs/mini_wide_base.gin": ((), ()),
    "runs/flan_laptop_base.gin": ((), ()),
    "runs/finetune.gin": (("models/t5_mini.gin",), FINETUNE),
    "runs/eval.gin": (
        ("models/t5_tiny.gin",),
        ("CHECKPOINT_PATH=runs/a", "EVAL_OUTPUT_DIR=runs/b", "MIXTURE_OR_TASK_NAME=mini", LENGTHS),
    ),
    "runs/flan_local.gin": ((), ("VOCABULARY=bytes", "MODEL_DIR=runs/l", "HOLD_OUT=entailment,math")),
    "runs/real_sources.gin": ((), ("VOCABULARY=bytes",)),
    "runs/superni.gin": ((), ("VOCABULARY=bytes", "MODEL_DIR=runs/s")),
    "runs/lora.gin": (("models/t5_tiny.gin", "runs/finetune.gin"), FINETUNE),
    "runs/prompt.gin": (("models/t5_tiny.gin", "runs/finetune.gin"), FINETUNE),
    "runs/freeze.gin": (("models/t5_tiny.gin", "runs/finetune.gin"), FINETUNE),
}


# What it starts from is a folder that must be there, so it has a test of its own.
ON_A_FOLDER = "runs/real_sources_lora.gin"


def resolve(name: str, *, extra: tuple[str, ...] = ()):
    models, bindings = RUNS[name]
    return gin_config.load([*models, name], [*bindings, *extra])


def shipped(folder: str) -> list[str]:
    root = gin_config.shipped_gin_dir()
    return sorted(path.relative_to(root).as_posix() for path in (root / folder).glob("*.gin"))


def test_every_shipped_run_is_listed_here():
    assert shipped("runs") == sorted([*RUNS, ON_A_FOLDER])


@pytest.mark.parametrize("name", sorted(RUNS))
def test_resolved_config_is_golden(name):
    resolved = json.loads(json.dumps(resolve(name).config.resolved()))
    path = GOLDEN / f"{Path(name).stem}.json"
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(resolved, indent=1) + "\n", encoding="utf-8")
    assert resolved == json.loads(path.read_text(encoding="utf-8"))


def test_adapters_on_a_folder_s_model_are_trained_on_six_sources(tmp_path):
    chat_model(tmp_path / "chat")
    config = gin_config.load([ON_A_FOLDER], [f"INITIAL_CHECKPOINT_PATH={tmp_path / 'chat'}", "MODEL_DIR=runs/r"]).config
    assert (config.mixture, config.data.vocabulary) == ("real_sources", str(tmp_path / "chat"))
    assert (config.tuning.lora_rank, config.optimizer.name, config.optimizer.learning_rate) == (16, "adamw", 1e-3)
    assert config.evaluation.suites == ("validation_clusters", "held_out")
    with pytest.raises(UserError, match="INITIAL_CHECKPOINT_PATH"):
        gin_config.load([ON_A_FOLDER], ["MODEL_DIR=runs/r"])


def test_sharding_rules_are_set_alone():
    config = resolve("runs/finetune.gin", extra=("ShardingRules.vocab=('tensor', 'fsdp')", "MeshConfig.fsdp=2")).config
    assert config.mesh.rules.overrides() == {"vocab": ("tensor", "fsdp")}
    assert config.mesh.fsdp == 2
    with pytest.raises(UserError, match=r"mesh axis 'tensr'\. Did you mean 'tensor'.*sharding rule 'vocab'"):
        resolve("runs/finetune.gin", extra=("ShardingRules.vocab=('tensr',)",))


# Every shipped model: the published size that it is, or the parameters that it has with the words of `mini`.
MODELS = {
    "models/decoder_mini.gin": 3_771_648,
    "models/ettin_17m.gin": decoder_presets.preset("ettin_17m"),
    "models/gpt2_small.gin": decoder_presets.preset("gpt2_small"),
    "models/llama3_1_70b.gin": decoder_presets.preset("llama3_1_70b"),
    "models/llama3_2_1b.gin": decoder_presets.preset("llama3_2_1b"),
    "models/qwen2_5_0_5b.gin": decoder_presets.preset("qwen2_5_0_5b"),
    "models/t5_base.gin": t5_presets.preset("t5_1_1_base"),
    "models/t5_large.gin": t5_presets.preset("t5_1_1_large"),
    "models/t5_mini.gin": 6_756_096,
    "models/t5_small.gin": t5_presets.preset("t5_1_1_small"),
    "models/t5_tiny.gin": 1_411_456,
    "models/t5_xl.gin": t5_presets.preset("t5_1_1_xl"),
    "models/t5_xxl.gin": t5_presets.preset("t5_1_1_xxl"),
    "models/t5gemma2_270m_270m.gin": t5gemma_presets.preset("t5gemma2_270m_270m"),
    "models/t5gemma2_4b_4b.gin": t5gemma_presets.preset("t5gemma2_4b_4b"),
    "models/t5gemma_s_s.gin": t5gemma_presets.preset("t5gemma_s_s"),
}
OF_THE_RUN = ("eos_id", "bos_id", "pad_id", "dropout_rate", "remat")


def test_every_shipped_model_is_listed_here():
    assert shipped("models") == sorted([*MODELS, "models/huggingface.gin", "models/preset.gin"])


def preset_of(name, *bindings):
    return gin_config.load(["models/preset.gin", "runs/finetune.gin"], [*FINETUNE, f"PRESET={name}", *bindings]).config


@pytest.mark.parametrize("name", [name for name, size in MODELS.items() if not isinstance(size, int)])
def test_a_preset_is_the_size_that_the_file_of_its_own_says(name):
    known = next(key for key, config in published.PRESETS.items() if config == MODELS[name])
    own = gin_config.load([name, "runs/finetune.gin"], FINETUNE).config.model
    found = preset_of(known, f"preset_model.remat={own.remat}").model
    assert found == own


def test_a_preset_takes_what_a_run_says_and_an_unknown_one_is_answered_with_near_ones():
    config = preset_of("qwen3_0_6b", "ACTIVATION_DTYPE=bfloat16", "preset_model.prefix_lm=True", "DROPOUT_RATE=0.1")
    assert (config.model.dtype, config.model.prefix_lm, config.model.dropout_rate) == ("bfloat16", True, 0.1)
    ids = {"eos_id": 7, "bos_id": 5, "reads_start": False}
    decoder = published.preset_model("llama3_2_1b", **ids)
    assert {name: getattr(decoder, name) for name in ids} == ids
    assert published.preset_model("t5_1_1_small", **ids).eos_id == 7
    with pytest.raises(UserError, match="Did you mean 'llama3_1_8b'"):
        preset_of("llama3.1_8b")
    with pytest.raises(UserError, match="encoder–decoder"):
        preset_of("t5_1_1_small", "preset_model.prefix_lm=True")
    with pytest.raises(UserError, match="PRESET"):
        gin_config.load(["models/preset.gin", "runs/finetune.gin"], FINETUNE)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_file_is_the_size_that_it_says(name):
    found = gin_config.load([name, "runs/finetune.gin"], FINETUNE).config.model
    if isinstance(MODELS[name], int):
        assert found.vocab_size % 128 == 0
        assert build.num_params(found) == MODELS[name]
    else:
        assert found == dataclasses.replace(
            MODELS[name], **{field: getattr(found, field) for field in OF_THE_RUN if hasattr(found, field)}
        )


def test_a_model_may_be_what_a_folder_holds(tmp_path):
    own = chat_model(tmp_path / "chat", d_model=24)
    bindings = [*FINETUNE, f"INITIAL_CHECKPOINT_PATH={tmp_path / 'chat'}", "DROPOUT_RATE=0.2"]
    files = ["models/huggingface.gin", "runs/finetune.gin"]
    found = gin_config.load(files, bindings).config
    assert found.model == dataclasses.replace(own, dropout_rate=0.2, stop_ids=(3,), family="llama")
    assert found.data.vocabulary == str(tmp_path / "chat")
    prefix = gin_config.load(
        files,
        [*bindings, "pretrained_model.prefix_lm=True", "ACTIVATION_DTYPE=bfloat16", "pretrained_model.attention=dense"],
    ).config
    assert (prefix.model.prefix_lm, prefix.model.dtype, prefix.model.attention) == (True, "bfloat16", "dense")
    # Another vocabulary ends and begins texts in its own way; what ended them before still does.
    other = gin_config.load(files, [*bindings, "VOCABULARY=bytes"]).config
    assert (other.data.vocabulary, other.model.eos_id, other.model.stop_ids) == ("bytes", 1, (2, 3))


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("INITIAL_CHECKPOINT_PATH=", "INITIAL_CHECKPOINT_PATH is empty"),
        ("INITIAL_CHECKPOINT_PATH=./nowhere", "There is no folder './nowhere'"),
        ("run.vocab_size=512", "run.vocab_size is 512, but the model is read with its size"),
        ("pretrained_model.dropuot_rate=1", "Did you mean 'dropout_rate'"),
    ],
)
def test_what_a_folder_cannot_give_is_said_in_a_sentence(binding, message, tmp_path):
    chat_model(tmp_path / "chat")
    bindings = [*FINETUNE, f"INITIAL_CHECKPOINT_PATH={tmp_path / 'chat'}", binding]
    with pytest.raises(UserError, match=message) as caught:
        gin_config.load(["models/huggingface.gin", "runs/finetune.gin"], bindings)
    assert "\n" not in str(caught.value)


def test_the_beginning_of_a_sequence_is_the_vocabularys(tmp_path):
    chat_model(tmp_path / "chat")
    bindings = [*FINETUNE, f"VOCABULARY={tmp_path / 'chat'}"]
    model = gin_config.load(["models/decoder_mini.gin", "runs/finetune.gin"], bindings).config.model
    assert (model.vocab_size, model.bos_id, model.eos_id, model.stop_ids) == (384, 1, 2, ())


@pytest.mark.parametrize("file", ["models/decoder_mini.gin", "models/huggingface.gin"])
def test_a_row_begins_with_a_token_where_the_vocabulary_s_texts_do(file, tmp_path):
    for begins in (True, False):
        folder = tmp_path / str(begins)
        chat_model(folder, begins=begins)
        place = "INITIAL_CHECKPOINT_PATH" if "huggingface" in file else "VOCABULARY"
        model = gin_config.load([file, "runs/finetune.gin"], [*FINETUNE, f"{place}={folder}"]).config.model
        assert (model.bos_id, model.reads_start) == (1, begins)


def test_the_operative_config_resolves_to_the_same_run(tmp_path):
    first = resolve("runs/quickstart.gin", extra=("TRAIN_STEPS=70", "EvalConfig.max_examples=3"))
    saved = tmp_path / "config.gin"
    saved.write_text(first.operative, encoding="utf-8")
    again = gin_config.load([str(saved)])
    assert again.config == first.config
    assert again.config.steps == 70
    assert again.config.evaluation.max_examples == 3


def test_later_files_and_bindings_win(tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text("include 'runs/quickstart.gin'\nBATCH_SIZE = 8\nTRAIN_STEPS = 60\n", encoding="utf-8")
    config = gin_config.load([str(mine)], ["TRAIN_STEPS=70"]).config
    assert (config.feed.batch_size, config.steps) == (8, 70)


def test_search_paths(tmp_path):
    (tmp_path / "own.gin").write_text("include 'runs/quickstart.gin'\nBATCH_SIZE = 4\n", encoding="utf-8")
    assert gin_config.load(["own.gin"], (), [str(tmp_path)]).config.feed.batch_size == 4


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        ("TRIAN_STEPS=5", "Did you mean 'TRAIN_STEPS'"),
        ("OptimizerConfig.learning_rat=1", "Did you mean 'learning_rate'"),
        ("OptimiserConfig.name='adamw'", "Did you mean 'OptimizerConfig'"),
        ("run.batchsize=1", "Did you mean 'batch_size'"),
        ("OptimizerConfig.name=adamv", "Did you mean 'adamw'"),
        ("TRAIN_STEPS=many", "TRAIN_STEPS .* is 'many'; it must be a whole number"),
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
    found = resolve("runs/quickstart.gin", extra=bindings).config.evaluation.decoding
    assert (found.method, found.beams, found.length_penalty) == ("beam", 4, 1.0)
    assert resolve("runs/quickstart.gin").config.evaluation.decoding.method == "greedy"
    with pytest.raises(UserError, match="beams"):
        resolve("runs/quickstart.gin", extra=("EvalConfig.decoding=@DecodingConfig()", "DecodingConfig.beam=4"))


# Recipes of papers, with the published hyper-parameters.
PAPERS = sorted(
    path.relative_to(gin_config.shipped_gin_dir()).as_posix()
    for path in (gin_config.shipped_gin_dir() / "papers").rglob("*.gin")
)
# Steps, published checkpoint, millions of parameters.
FLAN_T5 = {
    "small": (98_000, "google/t5-small-lm-adapt", 77),
    "base": (84_000, "google/t5-base-lm-adapt", 248),
    "large": (64_000, "google/t5-large-lm-adapt", 783),
    "xl": (38_000, "google/t5-xl-lm-adapt", 2_850),
    "xxl": (14_000, "google/t5-xxl-lm-adapt", 11_135),
}
HELD_OUT = (
    "entailment", "reading_comprehension", "open_domain_qa", "common_sense", "coreference", "translation", "structure_to_text",
)  # fmt: skip


# What each candidate for the gap on MMLU changes of the published recipe, and nothing else.
MMLU_CANDIDATES: dict[str, dict[str, Any]] = {
    "checkpoint": {"initial_checkpoint": "google/t5-v1_1-xl"},
    "weights_equal": {
        "weights": dict.fromkeys([f"{name}_submix" for name in ("flan2021", "t0", "niv2", "cot", "dialog")], 1)
    },
    "weights_proportion_b": {"mixture": "flan2022_proportion_b"},
    "templates": {"templates": "flan2021.json"},
    "packing": {"pack": False},
    "epochs_cap": {"exhausted": "drop"},
    "learning_rate": {"optimizer.name": "adamw", "optimizer.learning_rate": 1e-4},
}


def test_every_recipe_of_a_paper_is_tested_here() -> None:
    assert (
        sorted(
            ["papers/flan_t5/recipe.gin", "papers/flan2021/recipe.gin"]
            + [f"papers/flan_t5/{size}.gin" for size in FLAN_T5]
            + [f"papers/flan2021/holdout_{cluster}.gin" for cluster in HELD_OUT]
            + [f"papers/flan_t5_mmlu/{name}.gin" for name in MMLU_CANDIDATES]
        )
        == PAPERS
    )


@pytest.mark.parametrize("size", FLAN_T5)
def test_flan_t5(size: str) -> None:
    config = gin_config.load([f"papers/flan_t5/{size}.gin"], ["MODEL_DIR=runs/a", "VOCABULARY=bytes"]).config
    steps, checkpoint, millions = FLAN_T5[size]
    assert (config.steps, config.initial_checkpoint) == (steps, checkpoint)
    assert round(build.num_params(config.model) / 1e6) == millions
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.schedule) == ("adafactor", 5e-4, "constant")
    assert (config.feed.batch_size, config.feed.pack, config.model.dropout_rate) == (64, True, 0.05)
    assert config.tokenize.lengths == {"inputs": 2048, "targets": 512}
    assert config.mixture in MIXTURES


@pytest.mark.parametrize("name", MMLU_CANDIDATES)
def test_a_candidate_for_the_gap_on_mmlu_changes_one_thing(name: str) -> None:
    bindings = ["MODEL_DIR=runs/a", "VOCABULARY=bytes"]
    published = gin_config.load(["papers/flan_t5/xl.gin"], bindings).config.resolved()
    found = gin_config.load([f"papers/flan_t5_mmlu/{name}.gin"], bindings).config.resolved()

    def flat(values: dict[str, Any]) -> dict[str, Any]:
        optimizer = {f"optimizer.{option}": value for option, value in values["optimizer"].items()}
        return {**{option: value for option, value in values.items() if option != "optimizer"}, **optimizer}

    before = flat(published)
    assert {option: value for option, value in flat(found).items() if value != before[option]} == MMLU_CANDIDATES[name]
    assert found["mixture"] in MIXTURES


@pytest.mark.parametrize("cluster", HELD_OUT)
def test_flan2021(cluster: str) -> None:
    files = ["models/decoder_mini.gin", f"papers/flan2021/holdout_{cluster}.gin"]
    for order in (files, files[::-1]):
        config = gin_config.load(order, ["MODEL_DIR=runs/a", "VOCABULARY=bytes"]).config
        optimizer = config.optimizer
        assert (optimizer.name, optimizer.learning_rate, optimizer.schedule) == ("adafactor", 3e-5, "constant")
        assert (config.steps, config.feed.pack) == (30_000, True)
        assert config.tokenize.lengths == {"inputs": 1024, "targets": 256}
        # As near to a batch of 8,192 tokens as whole rows come from below.
        assert config.feed.batch_size == 8192 // 1280
        assert config.mixture == f"flan2021_holdout_{cluster}"
        assert config.mixture in MIXTURES
