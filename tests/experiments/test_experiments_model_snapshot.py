"""A run whose model and vocabulary came from a Hugging Face folder outlives that folder."""

import json
import shutil
from pathlib import Path

import pytest

from flan_jax.cli import gin_config
from flan_jax.cli.main import main
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.experiments.model_snapshot import (
    description_folder,
    description_vocabulary,
    save_description,
    vocabulary_place,
)
from flan_jax.mixing.mixture import MIXTURES, register_mixture
from flan_jax.models.huggingface.reader import read_config
from flan_jax.testing.folders import also_ends, chat_model
from flan_jax.testing.tasks import toy_mixture


@pytest.fixture(scope="module", autouse=True)
def toy():
    if "toy" not in MIXTURES:
        register_mixture("toy", toy_mixture)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def model(tmp_path):
    chat_model(tmp_path / "model")
    also_ends(tmp_path / "model", 2, 3, 7)
    return tmp_path / "model"


@pytest.fixture
def command(model, store, capsys):
    """``flan-jax train`` on the folder; returns the exit code and what was said."""

    def arguments(folder, steps, *more):
        return [
            "train", "--gin_file", "models/huggingface.gin", "--gin_file", "runs/finetune.gin", *more,
            "--gin.MIXTURE_OR_TASK_NAME=toy", "--gin.TASK_FEATURE_LENGTHS={'inputs': 48, 'targets': 24}",
            f"--gin.INITIAL_CHECKPOINT_PATH={model}", f"--gin.MODEL_DIR={folder}", f"--gin.TRAIN_STEPS={steps}",
            f"--gin.STORE={store}", "--gin.BATCH_SIZE=8", "--gin.LOG_PERIOD=1", "--gin.EvalConfig.suites=('held_out',)",
            "--gin.EvalConfig.max_examples=2",
        ]  # fmt: skip

    def run(*given):
        return said(*arguments(*given))

    def said(*given):
        code = main([str(part) for part in given])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    run.said = said
    return run


def losses(folder):
    lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_a_run_outlives_the_folder_of_its_model(command, model, tmp_path):
    run, straight = tmp_path / "run", tmp_path / "straight"
    assert command(run, 2)[0] == 0
    assert command(straight, 4)[0] == 0
    ask = ("generate", "--model_dir", run, "--max_tokens", "4", "--chat", "the cat")
    before, read, fingerprint = command.said(*ask), read_config(model), load_vocabulary(model).fingerprint()
    assert before[0] == 0
    shutil.rmtree(model)

    assert command.said(*ask)[:2] == before[:2]
    assert command.said("eval", "--model_dir", run)[0] == 0
    assert command.said("export-hf", run, tmp_path / "out")[0] == 0
    assert load_vocabulary(tmp_path / "out").fingerprint() == fingerprint
    assert read_config(tmp_path / "out").stop_ids == read.stop_ids == (3, 7)
    assert not list((tmp_path / "out").glob("*kept*"))
    assert command.said("generate", "--model_dir", tmp_path / "out", "--max_tokens", "4", "--chat", "the cat")[0] == 0
    code, _, told = command(run, 4)
    assert (code, "resuming at step 2 of 4" in told) == (0, True), told
    assert losses(run) == losses(straight)
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["vocabulary"]["fingerprint"] == load_vocabulary(run / "pretrained").fingerprint() == fingerprint
    assert not list((run / "pretrained").glob("*.safetensors"))
    # A new run has no copy to read, and a run may be what another takes its kind and its words from.
    code, _, told = command(tmp_path / "new", 2)
    assert (code, told.count("\n")) == (2, 1)
    assert f"There is no folder '{model}'" in told
    found = gin_config.load(
        ["models/huggingface.gin", "runs/finetune.gin"],
        [f"INITIAL_CHECKPOINT_PATH={run}", f"MODEL_DIR={tmp_path / 'next'}", "MIXTURE_OR_TASK_NAME=toy",
         "TASK_FEATURE_LENGTHS={'inputs': 48, 'targets': 24}", "TRAIN_STEPS=1"],
    ).config  # fmt: skip
    assert (found.data.vocabulary, found.model.vocab_size) == (str(run / "pretrained"), read.vocab_size)


def test_a_run_that_trains_a_part_needs_its_base(command, model, tmp_path):
    run, lora = tmp_path / "run", ("--gin_file", "runs/lora.gin", "--gin.LORA_RANK=1")
    assert command(run, 1, *lora)[0] == 0
    model.rename(tmp_path / "elsewhere")
    for refused in (
        command(run, 2, *lora),
        command.said("generate", "--model_dir", run, "the cat"),
        command.said("eval", "--model_dir", run),
        command.said("export-hf", run, tmp_path / "out"),
    ):
        code, _, told = refused
        line = told.splitlines()[-1]
        assert code == 2
        assert f"trained a part of the model in '{model}', which is not there any more" in line
        assert "Put that model back where it was." in line
    assert not (tmp_path / "out").exists()
    (tmp_path / "elsewhere").rename(model)
    assert command(run, 2, *lora)[0] == 0


def test_another_tokenizer_in_the_folder_is_not_the_runs(model, tmp_path):
    run = str(tmp_path / "run")
    save_description(run, str(model), str(model))
    assert description_folder(str(model), run) == model
    assert vocabulary_place(str(model), run) == str(model)
    (model / "tokenizer.json").write_text(
        (model / "tokenizer.json").read_text(encoding="utf-8").replace("<|turn|>", "<|other|>"), encoding="utf-8"
    )
    assert vocabulary_place(str(model), run) == str(tmp_path / "run" / "pretrained")
    assert vocabulary_place("bytes", run) == "bytes"
    (model / "config.json").unlink()
    assert description_folder(str(model), run) == tmp_path / "run" / "pretrained"
    assert description_folder(str(model)) == model


def test_what_is_kept_is_of_this_run_and_kept_once(model, tmp_path):
    run = str(tmp_path / "run")
    save_description(run, "", "bytes")
    save_description(run, str(tmp_path), "bytes")
    assert not (tmp_path / "run").exists()
    save_description(run, str(model), "bytes")
    kept = tmp_path / "run" / "pretrained"
    shutil.move(model, tmp_path / "moved")
    save_description(run, str(model), "bytes")
    assert description_folder(str(model), run) == kept
    save_description(run, str(tmp_path / "moved"), str(tmp_path / "moved"))
    assert vocabulary_place(str(tmp_path / "moved"), run) == str(tmp_path / "moved")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["pretrained"]


@pytest.mark.parametrize(
    ("made", "named", "said"),
    [
        (("adapter_config.json",), ".", "it holds adapters"),
        (("manifest.json", "checkpoints/0/x"), "checkpoints", "lies in the folder of a run"),
        (("manifest.json",), ".", "whose model has a file in models/"),
        (("notes.txt",), ".", "Give a Hugging Face folder"),
    ],
)
def test_a_folder_that_describes_no_model(tmp_path, made, named, said):
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=f"has no config.json.*{said}"):
        description_vocabulary(str(tmp_path / named))
