"""Which file decides a value: macros have one home, every order of files means the same, and each has an effect."""

import re
from pathlib import Path

import pytest

from flan_jax.cli import gin_config
from flan_jax.errors import UserError
from flan_jax.models.huggingface import writer
from flan_jax.testing.folders import chat_model
from flan_jax.testing.models import random_params, tiny_t5

LENGTHS = "TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}"
FINETUNE = ("MIXTURE_OR_TASK_NAME=mini", "MODEL_DIR=runs/a", "TRAIN_STEPS=10", LENGTHS)
ROOT = gin_config.shipped_gin_dir()
# A study is many runs, and a paper has recipes: tests of gin files in sweeps/ and papers/ stand in test_cli_gin_study.py
# and test_cli_gin.py.
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.rglob("*.gin")
    if path.relative_to(ROOT).parts[0] not in ("sweeps", "papers")
)
DECODERS = [file for file in FILES if re.search("decoder|gpt2|llama|qwen", file)]
T5S = [file for file in FILES if "/t5_" in file]

RECIPE = "a recipe that includes the file with the default, so that its own value comes later in any order"
ON_TOP = "adapters and prompts begin at nothing; `gin_order` refuses them in front of the run's file"
RUN = "runs/finetune.gin"
# Names that are bound in several files, besides models/, of which a run has one: where, and why that is no trap.
HOMES = {
    "BATCH_SIZE": (
        {
            RUN,
            "runs/flan_local.gin",
            "runs/quickstart.gin",
            "runs/superni.gin",
            "runs/real_sources.gin",
            "runs/real_sources_lora.gin",
        },
        RECIPE,
    ),
    "CHECKPOINT_PERIOD": ({RUN, "runs/quickstart.gin", "runs/real_sources.gin", "runs/real_sources_lora.gin"}, RECIPE),
    "DROPOUT_RATE": ({"models", "runs/quickstart.gin"}, RECIPE),
    "EvalConfig.before": (
        {"runs/flan_local.gin", "runs/quickstart.gin", "runs/mini_wide_base.gin", "runs/real_sources.gin"},
        RECIPE,
    ),
    "EvalConfig.max_examples": (
        {"runs/flan_local.gin", "runs/real_sources.gin", "runs/real_sources_lora.gin"},
        "three recipes, of which a run is one",
    ),
    "EvalConfig.suites": (
        {"runs/real_sources.gin", "runs/real_sources_lora.gin"},
        "two recipes, of which a run is one",
    ),
    "FROZEN_DTYPE": ({"runs/freeze.gin", "runs/lora.gin", "runs/prompt.gin"}, "one value in all three"),
    "INITIAL_CHECKPOINT_PATH": ({RUN, "runs/eval.gin", "runs/real_sources_lora.gin"}, RECIPE),
    "LEARNING_RATE": (
        {RUN, "runs/flan_local.gin", "runs/quickstart.gin", "runs/superni.gin", "runs/lora.gin", "runs/prompt.gin"},
        f"{RECIPE}; {ON_TOP}",
    ),
    "LOG_PERIOD": ({RUN, "runs/flan_local.gin", "runs/quickstart.gin", "runs/real_sources_lora.gin"}, RECIPE),
    "MIXTURE_OR_TASK_NAME": (
        {
            RUN,
            "runs/flan_local.gin",
            "runs/quickstart.gin",
            "runs/superni.gin",
            "runs/mini_wide_base.gin",
            "runs/real_sources.gin",
            "runs/real_sources_lora.gin",
        },
        RECIPE,
    ),
    "MODEL_DIR": (
        {
            RUN,
            "runs/eval.gin",
            "runs/quickstart.gin",
            "runs/mini_wide_base.gin",
            "runs/flan_laptop_base.gin",
            "runs/real_sources.gin",
        },
        RECIPE,
    ),
    "OptimizerConfig.name": ({RUN, "runs/quickstart.gin", "runs/lora.gin"}, f"{RECIPE}; {ON_TOP}"),
    "OptimizerConfig.schedule": ({RUN, "runs/quickstart.gin"}, RECIPE),
    "OptimizerConfig.warmup_steps": (
        {
            "runs/flan_local.gin",
            "runs/quickstart.gin",
            "runs/superni.gin",
            "runs/real_sources.gin",
            "runs/real_sources_lora.gin",
        },
        "recipes, of which a run is one",
    ),
    "T5Config.d_kv": ({"models", "runs/quickstart.gin"}, RECIPE),
    "T5Config.num_decoder_layers": ({"models", "runs/flan_laptop_base.gin"}, RECIPE),
    "T5Config.num_encoder_layers": ({"models", "runs/flan_laptop_base.gin"}, RECIPE),
    "T5Config.num_heads": ({"models", "runs/quickstart.gin", "runs/flan_laptop_base.gin"}, RECIPE),
    "T5Config.tie_embeddings": ({"models", "runs/quickstart.gin"}, RECIPE),
    "TASK_FEATURE_LENGTHS": (
        {
            RUN,
            "runs/flan_local.gin",
            "runs/quickstart.gin",
            "runs/superni.gin",
            "runs/real_sources.gin",
            "runs/real_sources_lora.gin",
        },
        RECIPE,
    ),
    "TRAIN_STEPS": (
        {
            RUN,
            "runs/eval.gin",
            "runs/flan_local.gin",
            "runs/quickstart.gin",
            "runs/superni.gin",
            "runs/mini_wide_base.gin",
            "runs/flan_laptop_base.gin",
            "runs/real_sources.gin",
            "runs/real_sources_lora.gin",
        },
        RECIPE,
    ),
    "TuningConfig.frozen_dtype": (
        {"runs/freeze.gin", "runs/lora.gin", "runs/prompt.gin"},
        "the same macro in all three",
    ),
    "VOCABULARY": ({RUN, "runs/flan_local.gin", "runs/superni.gin", "runs/real_sources.gin"}, RECIPE),
    "run.curriculum_steps": ({"runs/quickstart.gin", "runs/mini_wide_base.gin", "runs/real_sources.gin"}, RECIPE),
    "run.tuning": ({"runs/freeze.gin", "runs/lora.gin", "runs/prompt.gin"}, "the same reference in all three"),
}


def bound_in(file: str) -> list[str]:
    return re.findall(r"^([A-Za-z][\w.]*) *=", (ROOT / file).read_text(encoding="utf-8"), re.M)


def included_by(file: str) -> list[str]:
    """Every file that it includes, and those that these include."""
    named = re.findall(r"^include '(.*)'", (ROOT / file).read_text(encoding="utf-8"), re.M)
    return [*named, *(deeper for one in named for deeper in included_by(one))]


def test_no_value_has_a_second_home_that_is_not_meant():
    homes: dict[str, set[str]] = {}
    for file in FILES:
        for name in bound_in(file):
            homes.setdefault(name, set()).add("models" if file.startswith("models/") else file)
    assert {name: files for name, files in homes.items() if len(files) > 1} == {
        name: files for name, (files, _) in HOMES.items()
    }


@pytest.mark.parametrize("name", sorted(name for name, (_, reason) in HOMES.items() if reason == RECIPE))
def test_a_recipe_includes_what_it_changes(name):
    files = HOMES[name][0]
    for recipe in files - {RUN, "models"}:
        included = included_by(recipe)
        assert all(RUN in included if other == RUN else True for other in files)
        assert "models" not in files or any(file.startswith("models/") for file in included)


@pytest.mark.parametrize("run_first", [False, True])
@pytest.mark.parametrize(("file", "rate"), [(f, 0.0) for f in DECODERS] + [(f, 0.05) for f in T5S])
def test_the_kind_of_model_decides_the_dropout_rate_in_any_order(file, rate, run_first):
    files = [RUN, file] if run_first else [file, RUN]
    assert gin_config.load(files, FINETUNE).config.model.dropout_rate == rate
    assert gin_config.load(files, [*FINETUNE, "DROPOUT_RATE=0.3"]).config.model.dropout_rate == 0.3


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A decoder's folder and a T5's, whose config.json says 0.1, as FLAN-T5's does."""
    root = tmp_path_factory.mktemp("published")
    chat_model(root / "decoder")
    t5 = tiny_t5(vocab_size=400, dropout_rate=0.1)
    chat_model(root / "t5")
    for path in (root / "t5").glob("*.safetensors"):
        path.unlink()
    (root / "t5" / "config.json").unlink()
    writer.save(root / "t5", t5, random_params(t5))
    return root


@pytest.mark.parametrize("run_first", [False, True])
@pytest.mark.parametrize(("kind", "rate"), [("decoder", 0.0), ("t5", 0.05)])
def test_a_folder_s_kind_decides_the_dropout_rate_in_any_order(kind, rate, run_first, published):
    files = [RUN, "models/huggingface.gin"] if run_first else ["models/huggingface.gin", RUN]
    bindings = [*FINETUNE, f"INITIAL_CHECKPOINT_PATH={published / kind}"]
    assert gin_config.load([*files, "runs/lora.gin"], bindings).config.model.dropout_rate == rate
    assert gin_config.load(files, [*bindings, "DROPOUT_RATE=0.2"]).config.model.dropout_rate == 0.2
    zero = gin_config.load(files, [*bindings, "DROPOUT_RATE=0.0"]).config.model.dropout_rate
    assert zero == 0.0


def test_a_recipe_of_one_model_keeps_its_own_rate():
    assert gin_config.load(["runs/quickstart.gin"]).config.model.dropout_rate == 0.0


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["models/t5_tiny.gin", "runs/lora.gin", RUN], ["LEARNING_RATE would be 0.0005 in the place of 0.001", "Name runs/lora.gin after"]),
        (["models/decoder_mini.gin", "runs/quickstart.gin"], ["run.model", "Name models/decoder_mini.gin after runs/quickstart.gin"]),
        (["runs/quickstart.gin", RUN], ["undoes what that sets"]),
        (["models/t5_tiny.gin", "models/t5_mini.gin", RUN], ["T5Config.d_model", "Leave one of them out"]),
        (["models/t5_tiny.gin", RUN, "runs/lora.gin", "runs/prompt.gin"], ["LEARNING_RATE would be 0.03", "Leave one of them out"]),
        (["own.gin", "models/t5_tiny.gin", RUN], ["DROPOUT_RATE would be 0.05 in the place of 0.4", "Name own.gin after"]),
        (["models/t5_tiny.gin", "own_macro.gin", RUN], ["OptimizerConfig.learning_rate would be %LEARNING_RATE in the place of %OWN"]),
        (["models/t5_tiny.gin", "runs/lora.gin", "own_run.gin"], ["OptimizerConfig.name|LEARNING_RATE", "Name runs/lora.gin after own_run.gin"]),
    ],
)  # fmt: skip
def test_a_file_that_undoes_another_is_refused(files, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.gin").write_text("DROPOUT_RATE = 0.4\n", encoding="utf-8")
    Path("own_run.gin").write_text(f"include '{RUN}'\n", encoding="utf-8")
    Path("own_macro.gin").write_text("OWN = 0.1\nOptimizerConfig.learning_rate = %OWN\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        gin_config.load(files, [*FINETUNE, "VOCABULARY=bytes"])
    assert all(re.search(part, str(caught.value)) for part in named), str(caught.value)


def test_what_the_command_line_says_is_not_undone():
    files = ["models/t5_tiny.gin", RUN, "runs/lora.gin", "runs/prompt.gin"]
    config = gin_config.load(files, [*FINETUNE, "LEARNING_RATE=0.01"]).config
    assert (config.optimizer.learning_rate, config.tuning.lora_rank, config.tuning.prompt_tokens) == (0.01, 16, 100)


def test_files_in_the_order_of_the_guide_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.gin").write_text(f"include '{RUN}'\nDROPOUT_RATE = 0.4\nLEARNING_RATE = 0.2\n", encoding="utf-8")
    for files in (["models/t5_tiny.gin", "own.gin", "runs/lora.gin"], ["own.gin", "models/t5_tiny.gin"]):
        gin_config.load(files, FINETUNE)
    changed = gin_config.load(["models/t5_tiny.gin", "own.gin"], FINETUNE).config
    assert (changed.model.dropout_rate, changed.optimizer.learning_rate) == (0.4, 0.2)
    gin_config.load(["runs/superni.gin", "models/decoder_mini.gin"], ["VOCABULARY=bytes", "MODEL_DIR=runs/s"])


# Another value of every macro of the shipped files, where adding one to its number does not make one.
OTHER = {
    "MODEL_DIR": "'runs/other'", "MIXTURE_OR_TASK_NAME": "'word_category'", "TASK_FEATURE_LENGTHS": "{'inputs': 8, 'targets': 8}",
    "INITIAL_CHECKPOINT_PATH": "'runs/base'", "INITIAL_ADAPTER": "'runs/adapter'", "INITIAL_PARAMETERS": "('encoder/.*',)", "VOCABULARY": "'bytes'",
    "HOLD_OUT": "'word_category'", "TEMPLATES": "'templates.json'", "STORE": "'other_store'",
    "USE_CACHED_TASKS": "True", "ACTIVATION_DTYPE": "'bfloat16'", "FROZEN_DTYPE": "'bfloat16'", "TRAIN_ONLY": "('scale',)",
    "FREEZE": "('scale',)", "LORA_PATTERNS": "('q',)", "VOCAB_SIZE": "300000", "DROPOUT_RATE": "0.4", "LEARNING_RATE": "0.4",
    "TRAIN_STEPS": "77", "BATCH_SIZE": "7", "Z_LOSS": "0.4", "RANDOM_SEED": "7", "LOG_PERIOD": "7", "CHECKPOINT_PERIOD": "7",
    "EVAL_PERIOD": "1400", "CHECKPOINT_LOCAL_DIR": "'fast'", "CHECKPOINT_LOCAL_PERIOD": "7",
    "TRACKERS": "('wandb',)",
    "VALIDATION_PERIOD": "1400", "EVAL_OPTION_SCORE": "'per_token'", "LORA_RANK": "3", "LORA_ALPHA": "3", "PROMPT_TOKENS": "3", "CHECKPOINT_PATH": "'runs/base'",
    "EVAL_OUTPUT_DIR": "'runs/other'", "WEIGHTS": "{'sentiment': 1}", "CHAT_TEMPLATE": "'chatml'", "MICROBATCHES": "2",
    "LOSS_NORMALIZER": "'tasks'", "PRESET": "'t5_1_1_small'",
}  # fmt: skip
NEEDED = {
    "INITIAL_ADAPTER": ["INITIAL_CHECKPOINT_PATH=runs/base"],
    "INITIAL_PARAMETERS": ["INITIAL_CHECKPOINT_PATH=runs/base"],
    "MIXTURE_OR_TASK_NAME": ["VOCABULARY=bytes"],
}
# Two that mean nothing without each other.
TOGETHER = {
    "CHECKPOINT_LOCAL_DIR": ["CHECKPOINT_LOCAL_PERIOD=5"],
    "CHECKPOINT_LOCAL_PERIOD": ["CHECKPOINT_LOCAL_DIR='fast'"],
}


def completed(file: str, published: Path) -> tuple[list[str], list[str]]:
    """The files and bindings with which a shipped file makes a run."""
    text, bindings = (ROOT / file).read_text(encoding="utf-8"), list(FINETUNE)
    if "huggingface" in file:
        bindings.append(f"INITIAL_CHECKPOINT_PATH={published / 'decoder'}")
    if file == "models/preset.gin":
        bindings.append("PRESET=ettin_17m")
    if file == "runs/eval.gin":
        bindings = ["CHECKPOINT_PATH=runs/a", "EVAL_OUTPUT_DIR=runs/b", *FINETUNE[:1], LENGTHS]
    if file.startswith("models/"):
        return [file, RUN], bindings
    if any(one.startswith("models/") for one in included_by(file)):  # with a model
        bindings = ["MODEL_DIR=runs/a"]
        if "models/huggingface.gin" in included_by(file):
            bindings.append(f"INITIAL_CHECKPOINT_PATH={published / 'decoder'}")
        return [file], bindings
    return ["models/t5_tiny.gin", *([RUN] if "run.tuning" in text else []), file], bindings


@pytest.mark.parametrize(
    ("file", "macro"), [(file, name) for file in FILES for name in bound_in(file) if name.isupper()]
)
def test_every_macro_of_a_file_has_an_effect(file, macro, published, tmp_path):
    files, bindings = completed(file, published)
    if re.search("^VOCABULARY = %gin", (ROOT / file).read_text(encoding="utf-8"), re.M) and macro != "VOCABULARY":
        bindings.append("VOCABULARY=bytes")
    if macro == "CHAT_TEMPLATE":  # a decoder's alone
        files = ["models/decoder_mini.gin", *files[1:]]
    value = OTHER.get(macro, repr(str(tmp_path)))
    if macro == "INITIAL_CHECKPOINT_PATH" and "models/huggingface.gin" in included_by(
        file
    ):  # which is read for its model
        value = repr(str(published / "t5"))
    before = [f"VOCABULARY={published / 'decoder'}"] if macro == "VOCABULARY" else NEEDED.get(macro, [])
    without = gin_config.load(files, [*bindings, *before]).config.resolved()
    # What takes its value from another macro takes it from one of them only.
    fed = {"MODEL_DIR": "EVAL_OUTPUT_DIR", "INITIAL_CHECKPOINT_PATH": "CHECKPOINT_PATH"}.get(macro, "none")
    others = [binding for binding in bindings if not binding.startswith(f"{fed}=")]
    with_it = TOGETHER.get(macro, [])
    changed = gin_config.load(files, [*others, *before, *with_it, f"{macro}={value}"]).config.resolved()
    assert without != changed


def test_a_value_above_an_include_that_sets_it_is_no_value(tmp_path):
    """gin lets the included file win, which nobody means who writes a value into a file of their own."""
    own = tmp_path / "own.gin"
    lines = [
        "include 'models/t5_tiny.gin'",
        "include 'runs/finetune.gin'",
        "MIXTURE_OR_TASK_NAME = 'mini'",
        "TRAIN_STEPS = 1",
    ]
    lines += ["MODEL_DIR = 'x'", "TASK_FEATURE_LENGTHS = {'inputs': 8, 'targets': 8}"]
    own.write_text("\n".join(["DROPOUT_RATE = 0.25", *lines]))
    with pytest.raises(
        UserError, match=r"t5_tiny.gin, line \d+ sets DROPOUT_RATE, which .*own.gin, line 1 has set before"
    ):
        gin_config.load([str(own)])
    own.write_text("\n".join([*lines, "DROPOUT_RATE = 0.25"]))
    assert gin_config.load([str(own)]).config.model.dropout_rate == 0.25
    own.write_text("\n".join(["DROPOUT_RATE = 0.05", *lines]))  # the same value is no contradiction
    assert gin_config.load([str(own)]).config.model.dropout_rate == 0.05
