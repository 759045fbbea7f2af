"""Options by the names of earlier versions: read where a run wrote them down, refused where a user writes them."""

import dataclasses
import json

import pytest

from flan_jax.cli import gin_config
from flan_jax.errors import UserError
from flan_jax.experiments.run_dir import earlier_tables
from flan_jax.experiments.weights.base_check import model_of
from flan_jax.testing.models import tiny_decoder, tiny_t5

FILES = ["runs/quickstart.gin"]


def test_an_old_name_is_refused_with_the_new_one():
    with pytest.raises(UserError, match=r"--gin.run.lesson_steps=3: run.lesson_steps is called run.curriculum_steps"):
        gin_config.load(FILES, ["run.lesson_steps=3"])


def test_the_file_of_a_run_is_read_by_old_names(tmp_path):
    own = tmp_path / "config.gin"
    own.write_text("include 'runs/quickstart.gin'\nrun.lesson_steps = 7\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"config.gin, line 2: run.lesson_steps is called run.curriculum_steps now"):
        gin_config.load([str(own)])
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")  # a run's, by what lies beside it
    assert gin_config.load([str(own)]).config.feed.curriculum_steps == 7


def test_tables_of_a_manifest_are_read_by_old_names(tmp_path):
    def table(column: str) -> dict:
        return {"a": {"fingerprint": "f", "weight": 0.5, column: 1.0}}

    manifest = {"config": {}, "tasks": table("lesson"), "changes": [{"step": 1, "before": table("lesson")}]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert earlier_tables(tmp_path) == [table("curriculum"), table("curriculum")]


def test_values_of_a_run_are_read_in_old_words(tmp_path):
    saved = {**dataclasses.asdict(tiny_t5()), "attention": "rows", "position_heads": 2.0}
    del saved["relative_bias_init"]
    assert model_of(saved) == tiny_t5(attention="batch_chunked", relative_bias_init=2.0)
    own = tmp_path / "config.gin"
    lines = ["ATTENTION = 'plain'", "T5Config.attention = %ATTENTION", "T5Config.position_heads = 2.0"]
    own.write_text("\n".join(["include 'runs/quickstart.gin'", *lines, ""]), encoding="utf-8")
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    found = gin_config.load([str(own)]).config.model
    assert (found.attention, found.relative_bias_init) == ("dense", 2.0)


def test_an_old_word_is_refused_with_the_new_one():
    with pytest.raises(UserError, match="T5Config: attention 'rows' is called 'batch_chunked' now"):
        gin_config.load(FILES, ["T5Config.attention='rows'"])


@pytest.mark.parametrize(
    ("model", "before", "now"),
    [
        (tiny_t5(), "gated-gelu", "gated-gelu_tanh"),
        (tiny_t5(), "gelu", "gelu"),
        (tiny_decoder(), "gated-gelu", "gated-gelu_tanh"),
        (tiny_decoder(), "gated-gelu-exact", "gated-gelu"),
        (tiny_decoder(), "gelu", "gelu_tanh"),
        (tiny_decoder(), "gelu-exact", "gelu"),
        (tiny_decoder(), "silu", "silu"),
    ],
)
def test_the_activation_of_an_earlier_run_is_the_function_that_it_was(model, before, now):
    saved = dataclasses.asdict(model)
    today = saved.pop("mlp_activation")
    assert model_of({**saved, "feed_forward": before}) == dataclasses.replace(model, mlp_activation=now)
    assert model_of({**saved, "mlp_activation": today}) == model  # what is written today is read as it stands


def test_an_old_activation_is_never_read_in_the_new_meaning():
    message = r"DecoderConfig.feed_forward is called DecoderConfig.mlp_activation now, and its 'gelu' is 'gelu_tanh'. Write that."
    with pytest.raises(UserError, match=message):
        gin_config.load(
            ["models/gpt2_small.gin", "runs/finetune.gin"],
            ["MODEL_DIR=a", "MIXTURE_OR_TASK_NAME=mini", "TRAIN_STEPS=1", "DecoderConfig.feed_forward='gelu'"],
        )
