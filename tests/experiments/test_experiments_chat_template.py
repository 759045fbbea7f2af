"""Templated tasks trained, measured and asked inside the model's chat template."""

import json

import numpy as np
import pytest

from flan_jax.cli.main import main
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.eval.examples import EvalExample
from flan_jax.experiments.chat_template import missing_template_note, run_prompts, template_of, with_stop_ids
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data, prepare_run
from flan_jax.experiments.evaluate import eval_suites, make_predictor
from flan_jax.experiments.mixture import resolve_mixture
from flan_jax.experiments.options import CheckpointConfig, EvalConfig
from flan_jax.mixing.mixture import MIXTURES, register_mixture
from flan_jax.models.build import abstract_model
from flan_jax.models.huggingface.reader import load
from flan_jax.testing.folders import chat_model
from flan_jax.testing.models import tiny_t5
from flan_jax.testing.tasks import toy_mixture
from flan_jax.train.optimizer import OptimizerConfig

TURN = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if "toy" not in MIXTURES:
        register_mixture("toy", toy_mixture)
    path = tmp_path_factory.mktemp("models") / "chat"
    chat_model(path, num_layers=1, d_model=16, d_ff=16)
    return path


def run_config(folder, place, **changes) -> RunConfig:
    model, _ = load(folder)
    values = {
        "model_dir": str(place / "run"),
        "mixture": "toy",
        "lengths": {"inputs": 96, "targets": 24},
        "model": model,
        "optimizer": OptimizerConfig(name="adamw"),
        "steps": 2,
        "batch_size": 4,
        "vocabulary": str(folder),
        "initial_checkpoint": str(folder),
        "chat_template": True,
        "log_period": 1,
        "checkpoint": CheckpointConfig(period=2),
        "evaluation": EvalConfig(suites=("held_out",), max_examples=3, batch_size=4),
    }
    return RunConfig.from_options(**{**values, **changes})


def test_options_are_ranked_behind_the_prompt_by_their_own_tokens_alone(folder, tmp_path):
    config = run_config(folder, tmp_path)
    prepare_run(config)
    data = open_data(config)
    _, params = load(folder)
    predictor = make_predictor(abstract_model(config.model)[0], params, data, config)
    (task,) = eval_suites(data, config)["held_out"]
    vocabulary = load_vocabulary(folder)
    prompts = run_prompts(config, vocabulary)
    for example, scores in zip(task.examples, predictor.rank(task.examples), strict=True):
        assert example.inputs[-len(vocabulary.encode("assistant:")) - 1] == TURN
        assert example.targets[-1] == TURN
        assert example.inputs_text.endswith("<|turn|>assistant:")
        ids = [np.array(vocabulary.encode(f" {option}"), np.int32) for option in example.options]
        alone = [EvalExample(example.inputs, (), ("",), 0, 0, targets=own) for own in ids]
        np.testing.assert_allclose(predictor.loglikelihood(alone), scores, rtol=1e-6)
        assert [prompts.reply(option).tolist() for option in example.options] == [own.tolist() for own in ids]
    assert (TURN,) in predictor.decoding.stop
    bare = run_config(folder, tmp_path, chat_template=False)
    with pytest.raises(UserError, match="chat_template"):
        open_data(bare)


def test_where_it_may_be_and_which_it_is(folder, tmp_path):
    with pytest.raises(UserError, match="the model is an encoder–decoder"):
        run_config(folder, tmp_path, model=tiny_t5())
    assert template_of(True, str(folder)).name == "chat"
    assert template_of(True, str(folder / "tokenizer.json")).text == template_of(True, str(folder)).text
    assert template_of("chatml", str(folder)).name == "chatml"
    assert template_of(False, "bytes") is None
    with pytest.raises(UserError, match="the vocabulary 'bytes' is no tokenizer's folder".replace("the", "The", 1)):
        template_of(True, "bytes")


def test_a_chat_model_that_is_tuned_outside_its_template_is_said(folder, tmp_path):
    mixture = resolve_mixture("toy")
    said = missing_template_note(run_config(folder, tmp_path, chat_template=False), mixture)
    assert said.startswith(f"The model of {str(folder)!r} has a chat template (chat)")
    assert "run.chat_template=True" in said
    assert missing_template_note(run_config(folder, tmp_path), mixture) == ""
    assert (
        missing_template_note(run_config(folder, tmp_path, chat_template=False, initial_checkpoint=""), mixture) == ""
    )


def test_stop_texts_may_name_special_tokens(folder):
    vocabulary = load_vocabulary(folder)
    assert with_stop_ids(DecodingConfig(stop=("<|turn|>", "\n\n")), vocabulary).stop == ("<|turn|>", "\n\n", (TURN,))
    plain = DecodingConfig(stop=("Q:",))
    assert with_stop_ids(plain, vocabulary) is plain


def test_from_the_command_line(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["--gin_file", "models/huggingface.gin", "--gin_file", "runs/finetune.gin"]
    macros = {
        "INITIAL_CHECKPOINT_PATH": folder, "MIXTURE_OR_TASK_NAME": "toy", "MODEL_DIR": "run", "TRAIN_STEPS": 1,
        "TASK_FEATURE_LENGTHS": {"inputs": 96, "targets": 24}, "BATCH_SIZE": 8, "LOG_PERIOD": 1, "CHAT_TEMPLATE": True,
    }  # fmt: skip
    given = [
        f"--gin.{name}={value!r}" if isinstance(value, (dict, bool)) else f"--gin.{name}={value}"
        for name, value in macros.items()
    ]
    assert (
        main(["train", *common, *given, "--gin.EvalConfig.max_examples=1", "--gin.EvalConfig.suites=('held_out',)"])
        == 0
    )
    assert "outside of it" not in capsys.readouterr().err
    rows = [json.loads(line) for line in next((tmp_path / "run/eval/1").rglob("*.jsonl")).read_text().splitlines()]
    assert rows[0]["inputs"].endswith("<|turn|>assistant:")
    assert json.loads((tmp_path / "run/manifest.json").read_text())["config"]["chat_template"] is True
    assert main(["eval", "--model_dir", "run"]) == 0
    assert main(["generate", "--model_dir", "run", "--max_tokens", "3", "the cat"]) == 0
    assert (
        main(
            [
                "prepare",
                "--mixture",
                "toy",
                "--store",
                "store",
                "--vocabulary",
                str(folder),
                "--inputs",
                "96",
                "--targets",
                "24",
                "--chat_template",
                "--processes",
                "1",
            ]
        )
        == 0
    )
    assert "0 there already" not in capsys.readouterr().out
