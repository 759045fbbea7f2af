"""LoRA inside the chat template on a real mixture: the loss falls, SIGTERM, resume, both exports."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from realweights_peer import Peer, load_peer, small_enough

from flan_jax.cli import gin_config
from flan_jax.cli.main import main
from flan_jax.experiments.data import open_data
from flan_jax.experiments.evaluate import eval_suites, make_predictor
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.report.document import report_document

pytestmark = [
    pytest.mark.realweights,
    pytest.mark.realdata,
    pytest.mark.filterwarnings("default"),
    pytest.mark.timeout(1800),
]
TARGETS = 32
LENGTHS = f"{{'inputs': 192, 'targets': {TARGETS}}}"
STEPS = 10
STOPPED_AFTER = 3


@pytest.fixture(scope="module")
def command(realweights, realdata, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    return folder / "run", [
        "train", "--module_import", "published_tasks", "--gin_file", "models/huggingface.gin",
        "--gin_file", "runs/finetune.gin", "--gin_file", "runs/lora.gin", "--gin.MIXTURE_OR_TASK_NAME=published_small",
        f"--gin.INITIAL_CHECKPOINT_PATH={realweights}", f"--gin.MODEL_DIR={folder / 'run'}",
        f"--gin.STORE={folder / 'store'}", f"--gin.TASK_FEATURE_LENGTHS={LENGTHS}",
        f"--gin.SOURCE_DIR={realdata / 'nlp_clusters'}", f"--gin.TRAIN_STEPS={STEPS}", "--gin.BATCH_SIZE=4",
        "--gin.LOG_PERIOD=1", "--gin.EvalConfig.before=True", "--gin.EvalConfig.max_examples=2",
        "--gin.EvalConfig.suites=('held_out',)", "--gin.EvalConfig.batch_size=16", "--gin.CHAT_TEMPLATE=True",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(command):
    """The run's folder, stopped by SIGTERM on its way and continued; and the exit code of the stop."""
    run, arguments = command
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", "flan_jax.cli.main", *arguments], env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and logged(run) < STOPPED_AFTER:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, words = process.communicate(timeout=600)
    stopped_at = logged(run)
    assert main(arguments) == 0
    return run, process.returncode, stopped_at, words


def lines(run):
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def logged(run):
    return max((line["step"] for line in lines(run)), default=0)


def test_stops_when_told_and_goes_on_there(trained):
    run, code, stopped_at, words = trained
    assert code == 75, words
    assert STOPPED_AFTER <= stopped_at < STEPS
    assert "run the same command again" in words
    assert [line["step"] for line in lines(run)] == list(range(1, STEPS + 1))


def test_the_loss_falls_from_that_of_a_published_model(trained):
    losses = [line["loss"] for line in lines(trained[0])]
    assert all(map(math.isfinite, losses))
    # Rows of a few examples are noisy. A wrong template or tokenizer starts far above, a wrong dropout does not fall.
    assert losses[0] < 5
    assert np.mean(losses[-3:]) < 0.75 * np.mean(losses[:2])


def test_a_decoder_is_tuned_without_dropout(trained):
    assert "dropout 0," in trained[3]


def test_the_page_shows_what_it_answers_before_and_after(trained):
    document = report_document([trained[0]])
    assert [source["step"] for source in document["sources"]] == [0, STEPS]
    rows = [row for task in document["examples"].values() for row in task["rows"]]
    assert len(rows) >= 6
    assert all(answer is not None for row in rows for answer in row["answers"])
    assert (trained[0] / "report.html").is_file()


def our_scores(run):
    """Examples whose options are not cut, with what this project makes of them by the run's checkpoint."""
    config = gin_config.load([], [f"run.model_dir={str(run)!r}"], folder=str(run)).config
    data, weights = open_data(config, training=False), load_weights(config)
    predictor = make_predictor(weights.graphdef, weights.params, data, config)
    examples = [example for tasks in eval_suites(data, config).values() for task in tasks for example in task.examples]
    encode = data.vocabulary.encode
    whole = [one for one in examples if max(len(encode(option)) for option in one.options) <= TARGETS]
    assert len(whole) >= 6
    return data.vocabulary, whole, predictor.rank(whole)


def peer_scores(peer: Peer, vocabulary, examples):
    ids = [[vocabulary.encode(option) for option in example.options] for example in examples]
    return [
        np.array([peer.log_likelihood(example.inputs, one) for one in options])
        for example, options in zip(examples, ids, strict=True)
    ]


def test_both_exports_score_in_pytorch_as_the_run_does_here(trained, peer, realweights, tmp_path):
    import peft
    import transformers

    run = trained[0]
    vocabulary, examples, ours = our_scores(run)
    assert main(["export-hf", str(run), str(tmp_path / "merged")]) == 0
    assert main(["export-hf", str(run), str(tmp_path / "adapter"), "--adapter"]) == 0
    merged = load_peer(tmp_path / "merged")
    base = transformers.AutoModelForCausalLM.from_pretrained(realweights)
    adapted = Peer(peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval(), peer.tokenizer)
    untouched = peer_scores(peer, vocabulary, examples[:4])
    assert not all(small_enough(one - other, 0.1) for one, other in zip(ours, untouched, strict=False))
    for theirs in (peer_scores(merged, vocabulary, examples), peer_scores(adapted, vocabulary, examples)):
        for example, mine, other in zip(examples, ours, theirs, strict=True):
            assert small_enough(mine - other), (example.inputs_text, mine, other)
