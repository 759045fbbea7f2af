"""A decoder, from the mixture to its answers: it trains, resumes, is measured and asked like a T5."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from flan_jax.cli.main import main
from flan_jax.data.chat.templates import load_chat_template
from flan_jax.data.prepare.conversations import ConversationTask
from flan_jax.data.sources.generated import generated
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalExample
from flan_jax.eval.predictor import Predictor
from flan_jax.experiments.batches import make_batches
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data, prepare_run
from flan_jax.experiments.evaluate import make_predictor
from flan_jax.experiments.generate import Answerer
from flan_jax.experiments.options import CheckpointConfig, EvalConfig
from flan_jax.experiments.run_dir import check_same_run
from flan_jax.experiments.train import train
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.experiments.weights.pretrained import run_of_folder
from flan_jax.feed.layout import DECODER_BATCH_KEYS
from flan_jax.mixing.mixture import MIXTURES, Entry, Mixture, register_mixture
from flan_jax.models.build import abstract_model, apply
from flan_jax.models.huggingface import writer
from flan_jax.testing.folders import chat_model
from flan_jax.testing.models import random_params, tiny_decoder, tiny_t5
from flan_jax.testing.tasks import toy_mixture
from flan_jax.testing.tokenizers import save, t5
from flan_jax.train.loss import token_loss
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import MeshConfig

DEVICES = 2  # of a run that names no mesh
STORE = Path()
MODEL = tiny_decoder(vocab_size=272, d_model=16, d_head=4, num_heads=4, num_layers=2, d_ff=32, dropout_rate=0.1)


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory):
    """The tests of this file share what is prepared."""
    global STORE
    STORE = tmp_path_factory.mktemp("store")
    if "toy" not in MIXTURES:
        register_mixture("toy", toy_mixture)


def run_config(folder, **changes) -> RunConfig:
    values = {
        "model_dir": str(folder),
        "mixture": "toy",
        "lengths": {"inputs": 48, "targets": 24},
        "model": MODEL,
        "optimizer": OptimizerConfig(name="adamw", learning_rate=3e-3),
        "steps": 6,
        "batch_size": 8,
        "log_period": 1,
        "store": str(STORE),
        "checkpoint": CheckpointConfig(period=3, keep=1),
        "evaluation": EvalConfig(suites=()),
    }
    return RunConfig.from_options(**{**values, **changes})


def losses(folder):
    lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_it_trains_resumes_is_measured_and_answers(tmp_path):
    measured = EvalConfig(suites=("held_out",), batch_size=16)
    straight, broken = run_config(tmp_path / "straight"), run_config(tmp_path / "broken", evaluation=measured)
    train(straight)
    train(broken.with_options(steps=3, evaluation=straight.evaluation))
    train(broken)
    assert losses(broken.model_dir) == losses(straight.model_dir)
    assert losses(straight.model_dir)[-1] < losses(straight.model_dir)[0] - 0.1
    results = json.loads((tmp_path / "broken" / "eval" / "6" / "results.json").read_text(encoding="utf-8"))
    assert "held_out" in results["suites"]
    assert isinstance(Answerer(broken, max_tokens=4).answer("Name a number that is odd."), str)


def test_every_mesh_computes_the_same(tmp_path):
    one = run_config(tmp_path / "one", steps=2)
    many = run_config(tmp_path / "many", steps=2, mesh=MeshConfig(data=2, fsdp=2, tensor=2))
    train(one)
    train(many)
    np.testing.assert_allclose(losses(many.model_dir), losses(one.model_dir), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("pack", "separator"), [(True, ""), (False, ""), (True, "\n")])
def test_what_is_measured_is_what_was_trained(tmp_path, pack, separator):
    """The loss of a batch, its tokens summed, is what the evaluation finds for its examples one by one."""
    model = dataclasses.replace(MODEL, bos_id=3, prefix_lm=True)
    config = run_config(tmp_path / "run", pack=pack, separator=separator, model=model)
    prepare_run(config)
    data = open_data(config)
    batch = next(make_batches(config, data.train, data.weights, data.curriculum))
    assert set(batch) == set(DECODER_BATCH_KEYS)
    params = some_params(config.model)
    predictor = make_predictor(abstract_model(config.model)[0], params, data, config)
    examples = list(examples_of(batch))
    known = {
        (*stored.inputs(i).tolist(), None, *stored.targets(i).tolist())
        for stored in data.train
        for i in range(len(stored))
    }
    for inputs, targets in examples:
        # As the store has them: nothing added, nothing lost.
        assert (*inputs.tolist(), None, *targets.tolist()) in known
        assert targets[-1] == data.vocabulary.eos_id
        assert inputs[-1] == (data.vocabulary.encode(separator)[0] if separator else data.vocabulary.eos_id)
    score = predictor.loglikelihood(
        [EvalExample(inputs, (), ("",), 0, 0, targets=targets) for inputs, targets in examples]
    ).sum()
    logits = jax.jit(lambda params, batch: logits_of(config.model, params, batch))(params, batch)
    sums = token_loss(logits, batch, num_tasks=len(data.train))
    np.testing.assert_allclose(-score, sums.loss, rtol=1e-5)
    assert (len(examples) > config.feed.batch_size) == pack


def some_params(model):
    return jax.tree.map(jax.numpy.asarray, random_params(model))


def logits_of(model, params, batch):
    return apply(abstract_model(model)[0], params, batch)


def examples_of(batch):
    """(inputs, targets) of every segment of every row."""
    for row in range(len(batch["decoder_segment_ids"])):
        segments = batch["decoder_segment_ids"][row]
        for segment in range(1, segments.max() + 1):
            own = segments == segment
            tokens, counted = batch["decoder_target_tokens"][row][own], batch["decoder_loss_weights"][row][own] > 0
            yield tokens[~counted], tokens[counted]


def test_an_example_longer_than_the_learned_positions_is_refused(tmp_path):
    model = dataclasses.replace(MODEL, position="learned", max_positions=20)
    config = run_config(tmp_path / "run", model=model)
    with pytest.raises(UserError, match="inputs and targets together, but the model has 20 positions for them"):
        train(config)
    assert not (tmp_path / "run").exists()


# --- a model of Hugging Face's --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "chat"
    chat_model(path)
    return path


def greedy(folder, ids, count):
    """The likeliest tokens behind ``ids``, one whole row after the other, up to an end of any kind."""
    config = run_of_folder(folder, max_tokens=count).model
    params, written = load_weights(run_of_folder(folder, max_tokens=count)).params, []
    size = load_vocabulary(folder).size
    forward = jax.jit(lambda tokens: logits_of(config, params, {"decoder_input_tokens": tokens}))
    room = len(ids) + count
    while len(written) < count and not {2, 3} & set(written):
        row = np.zeros((1, room), np.int32)
        row[0, : len(ids) + len(written)] = [*ids, *written]
        written.append(int(np.asarray(forward(row))[0, len(ids) + len(written) - 1, :size].argmax()))
    return [token for token in written if token not in (2, 3)]


def test_a_folder_is_asked_as_it_is(folder, capsys):
    vocabulary = load_vocabulary(folder)
    text = "the cat sat on"
    for options, ids in (
        ((), [1, *vocabulary.encode(text)]),
        (("--chat",), [1, *vocabulary.encode_offsets(f"user: {text}<|turn|>assistant:")[0]]),
    ):
        assert main(["generate", "--model_dir", str(folder), "--max_tokens", "5", *options, text]) == 0
        assert capsys.readouterr().out == vocabulary.decode(greedy(folder, ids, 5)) + "\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--step", "3"), "is no run, so it has no --step 3"),
        (("--max_tokens", "255"), "leaves no room for an instruction: the model reads 256 tokens in all"),
        (("--length_penalty", "2"), "Give --beams too"),
        (("--chat_template", "chatmll"), "Did you mean 'chatml'"),
    ],
)
def test_what_a_folder_cannot_answer_is_said_in_a_sentence(folder, options, message, capsys):
    assert main(["generate", "--model_dir", str(folder), *options, "the cat"]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_is_no_run_to_measure(folder, capsys):
    assert main(["eval", "--model_dir", str(folder)]) == 2
    assert "--gin_file models/huggingface.gin" in capsys.readouterr().err


def test_a_folder_is_measured_and_trained_further(folder, tmp_path, capsys):
    shared = [
        "--gin_file", "models/huggingface.gin", "--gin.MIXTURE_OR_TASK_NAME=toy", f"--gin.STORE={tmp_path / 'store'}",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 48, 'targets': 24}", "--gin.EvalConfig.suites=('held_out',)",
    ]  # fmt: skip
    measure = [
        "--gin_file",
        "runs/eval.gin",
        f"--gin.CHECKPOINT_PATH={folder}",
        f"--gin.EVAL_OUTPUT_DIR={tmp_path / 'm'}",
    ]
    assert main(["eval", *shared, *measure]) == 0
    assert (tmp_path / "m" / "eval" / "0" / "results.json").is_file()
    further = ["--gin_file", "runs/finetune.gin", f"--gin.INITIAL_CHECKPOINT_PATH={folder}", "--gin.TRAIN_STEPS=1"]
    further += ["--gin.BATCH_SIZE=8", "--gin.LOG_PERIOD=1", f"--gin.MODEL_DIR={tmp_path / 'run'}"]
    assert main(["train", *shared, *further, "--gin.EvalConfig.suites=()"]) == 0
    assert main(["generate", "--model_dir", str(tmp_path / "run"), "--max_tokens", "3", "--chat", "the cat"]) == 0
    capsys.readouterr()


# --- whole conversations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begins", [True, False])
def test_conversations_begin_once_and_count_what_the_assistant_says(begins, tmp_path):
    """The template of this model writes the token that begins a text; a row begins with it anyway, or not."""
    folder, name = tmp_path / "chat", f"talking_{begins}"
    chat_model(folder, begins=begins)
    turns = [("user", "the cat"), ("assistant", "on the mat"), ("user", "the dog"), ("assistant", "to the door")]
    record = {"messages": [{"role": role, "content": content} for role, content in turns]}
    task = ConversationTask("talks", generated("talks", lambda split: [record] * 20, 1), template=str(folder))
    register_mixture(name, lambda: Mixture(name, (Entry(task),)))
    config = run_config(
        tmp_path / "run", mixture=name, vocabulary=str(folder), steps=2, store=str(tmp_path / "store"),
        model=run_of_folder(folder, max_tokens=8).model,
    )  # fmt: skip
    train(config)
    data = open_data(config)
    batch = next(make_batches(config, data.train, data.weights, data.curriculum))
    first, counted = batch["decoder_target_tokens"][0], batch["decoder_loss_weights"][0] > 0
    own = batch["decoder_segment_ids"][0] == 1
    assert batch["decoder_input_tokens"][0, 0] == 0  # which the model reads as the beginning, or not at all
    assert config.model.reads_start == begins
    assert np.flatnonzero(first[own] == 1).tolist() == ([] if begins else [0])
    said = data.vocabulary.encode_offsets(" on the mat<|turn|>")[0]
    assert first[own & counted][: len(said)].tolist() == said
    # What a person's instruction becomes is how such a row begins.
    asked = Answerer(config, chat=load_chat_template(folder))._tokens("the cat")
    assert first[: len(asked)].tolist() == asked


def test_a_run_that_is_older_than_a_choice_made_it_by_default(tmp_path):
    config = run_config(tmp_path / "run")
    found = config.identity()
    del found["separator"], found["model"]["stop_ids"], found["model"]["prefix_lm"], found["model"]["reads_start"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({"config": found, "tasks": {}}), encoding="utf-8")
    assert check_same_run(config) == tmp_path / "run"
    for changes, told in (
        ({"separator": "\n"}, r"separator: '' → '\\n'"),
        ({"model": dataclasses.replace(MODEL, prefix_lm=True)}, "model.prefix_lm: False → True"),
    ):
        with pytest.raises(UserError, match=told):
            check_same_run(config.with_options(**changes))


def test_the_folder_of_an_encoder_decoder_reads_instructions_with_their_end(tmp_path, capsys):
    folder = save(tmp_path / "t5", t5(), {"eos_token": "</s>", "pad_token": "<pad>"})
    vocabulary = load_vocabulary(folder)
    model = tiny_t5(vocab_size=vocabulary.size)
    params = random_params(model)
    writer.save(folder, model, params)
    assert main(["generate", "--model_dir", str(folder), "--max_tokens", "6", "the cat sat"]) == 0
    predictor = Predictor(
        abstract_model(model)[0], jax.tree.map(jax.numpy.asarray, params), vocabulary.encode, vocabulary.decode, target_length=6
    )  # fmt: skip
    inputs = np.array([*vocabulary.encode("the cat sat"), vocabulary.eos_id])
    assert capsys.readouterr().out == predictor.generate([EvalExample(inputs, (), ("",), 0, 0)])[0] + "\n"
