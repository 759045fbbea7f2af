"""``flan-jax compare``: several models on the same prompts, from weights to the table."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from small_mini import small_mini

from flan_jax.cli.main import main
from flan_jax.eval.journal import JOURNAL_FILE, Journal
from flan_jax.experiments.compare import asked_as
from flan_jax.experiments.weights.pretrained import run_of_folder
from flan_jax.testing import tokenizers

RUN = (
    "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin",
    "--gin.MIXTURE_OR_TASK_NAME=mini", "--gin.EvalConfig.suites=('held_out',)", "--gin.TASK_FEATURE_LENGTHS={'inputs': 32, 'targets': 16}",
    "--gin.T5Config.d_model=16", "--gin.T5Config.d_kv=8", "--gin.T5Config.num_heads=2", "--gin.T5Config.d_ff=16",
    "--gin.T5Config.num_encoder_layers=1", "--gin.T5Config.num_decoder_layers=1", "--gin.EvalConfig.batch_size=8",
    "--gin.TRAIN_STEPS=3", "--gin.BATCH_SIZE=8", "--gin.EvalConfig.max_examples=6", "--gin.EvalConfig.overlap_ngram=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run, and the same run in the format of Hugging Face's."""
    folder = tmp_path_factory.mktemp("compared")
    pieces = tokenizers.save(folder / "pieces", tokenizers.t5())
    with small_mini():
        assert main(["train", *RUN, f"--gin.VOCABULARY={pieces}", f"--gin.MODEL_DIR={folder / 'tuned'}"]) == 0
        assert main(["export-hf", str(folder / "tuned"), str(folder / "published")]) == 0
        yield folder


@pytest.fixture
def compared(runs, cli, monkeypatch):
    monkeypatch.chdir(runs)
    return lambda *arguments: cli("compare", *arguments, "--output_dir", str(runs / "out"))


def test_checkpoints_and_a_published_folder_answer_the_same_prompts(compared, runs):
    outcome = compared("tuned@0", "tuned", "published", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["baseline"] == "tuned@0"
    assert {name: place["step"] for name, place in found["results"].items()} == {
        "tuned@0": 0,
        "tuned": 3,
        "published": 0,
    }
    (suite,) = found["suites"].values()
    tuned, published = suite["tuned"]["average"], suite["published"]["average"]
    # The exported folder holds the same weights, so it answers the same.
    assert published == tuned
    assert (tuned["tasks"], tuned["n"]) == (4, 24)
    assert tuned["interval"][0] <= tuned["difference"] <= tuned["interval"][1]
    assert tuned["difference"] == pytest.approx(tuned["second"] - tuned["first"])
    # The run's own evaluation of its last step is the same measurement.
    own = json.loads((runs / "tuned/eval/3/results.json").read_text(encoding="utf-8"))
    assert own["averages"]["held_out"]["value"] == pytest.approx(tuned["second"])


def test_what_was_measured_is_not_measured_again_and_the_table_groups_tasks(compared, runs):
    assert compared("tuned@0", "tuned").code == 0
    again = compared("tuned@0", "tuned")
    assert again.err.count("measured before, with the same weights and settings") == 2
    lines = [line.split() for line in again.out.splitlines()]
    names = [line[0] for line in lines if line and line[0] in ("all", "topic", "sentence_topic_zs_opt", "p:")]
    assert names == ["all", "topic", "sentence_topic_zs_opt", "p:"]
    # Chance and majority stand before the scores.
    own = json.loads((runs / "tuned/eval/3/results.json").read_text(encoding="utf-8"))
    (task,) = [row for row in own["suites"]["held_out"] if row["task"] == "sentence_topic_zs_opt"]
    (shown,) = [line for line in lines if line and line[0] == task["task"]]
    assert shown[1:4] == ["6", f"{100 * task['chance']:.1f}", f"{100 * task['majority']:.1f}"]
    fewer = compared("tuned@0", "tuned", "--limit", "2")
    assert "measuring held_out" in fewer.err
    assert "again: it was measured with other settings (max_examples: 6 → 2" in fewer.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tuned",), "One model is compared with nothing"),
        (("tuned", "tuned"), "named twice"),
        (("tuned", "tuned@7"), "step 7"),
        (("tuned", "gone"), "There is no run folder 'gone'"),
        (("published", "published@3"), "no run, so it has no step 3"),
        (("published", "tuned", "--of", "published"), "is a model of Hugging Face's and no run"),
        (("tuned", "tuned@0", "--limit", "-1"), "--limit -1 must be at least 1"),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_sentence(runs, refused, monkeypatch, arguments, message):
    monkeypatch.chdir(runs)
    assert message in refused("compare", *arguments, "--output_dir", str(runs / "refused"))
    assert not (runs / "refused").exists()  # and none was measured before


def test_published_models_alone_do_not_say_what_they_are_asked(runs, refused, monkeypatch, tmp_path):
    (tmp_path / "other").symlink_to(runs / "published")
    monkeypatch.chdir(runs)
    assert "None of the models is a run" in refused("compare", "published", str(tmp_path / "other"))


def test_a_tokenizer_is_found_from_where_it_is_named_whatever_data_folder_the_asking_run_has(runs, monkeypatch):
    monkeypatch.chdir(runs)
    model = run_of_folder("published")
    asking = dataclasses.replace(model, data=dataclasses.replace(model.data, data_dir="elsewhere"))
    assert asked_as(asking, model).data.vocabulary == str(runs / "published")


KILLED = """
import os, signal, sys
from flan_jax.cli.main import main
from flan_jax.eval.journal import Journal

add, calls = Journal.add, []

def killed(journal, entries):
    add(journal, entries)
    calls.append(entries)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.add = killed
sys.exit(main(sys.argv[1:]))
"""


def test_an_evaluation_that_the_system_kills_goes_on_where_it_stood(runs, cli, tmp_path, monkeypatch):
    """SIGKILL in the middle of a process of its own; the same command again repeats nothing, and gives the same bytes."""
    folders = [shutil.copytree(runs / "tuned", tmp_path / name) for name in ("whole", "killed")]
    for folder in folders:
        shutil.rmtree(folder / "eval")
    added = []
    add = Journal.add

    def spied(journal, entries):
        entries = list(entries)
        added.extend(entries)
        add(journal, entries)

    monkeypatch.setattr(Journal, "add", spied)

    def asked(folder):
        store = f"--gin.STORE={str(runs / 'store')!r}"
        return ["eval", "--model_dir", str(folder), "--limit", "12", store]

    assert cli(*asked(folders[0])).code == 0
    total = len(added)
    # On as many devices as what is measured here.
    flags = re.sub(r"(device_count)=\d+", r"\1=1", os.environ["XLA_FLAGS"])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *asked(folders[1])],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    journal = folders[1] / "eval" / "3" / JOURNAL_FILE
    assert not (folders[1] / "eval" / "3" / "results.json").exists()
    kept = Journal(journal).answers
    assert 0 < kept < total
    added.clear()
    again = cli(*asked(folders[1]))
    assert again.code == 0, again.err
    assert f"left {kept:,} answers" in again.err
    assert len(added) == total - kept
    assert len({entry[:2] for entry in added}) == len(added)
    first, second = (
        {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted((folder / "eval").rglob("*"))
            if path.is_file()
        }
        for folder in folders
    )
    assert first == second
