"""`flan-jax doremi`: three runs in their order, what each is given, and where the same command goes on."""

from pathlib import Path

import pytest

from flan_jax.cli import console

RUN = """
include 'models/t5_tiny.gin'
include 'runs/finetune.gin'
MIXTURE_OR_TASK_NAME = 'mini'
TASK_FEATURE_LENGTHS = {'inputs': 48, 'targets': 8}
TRAIN_STEPS = 4
"""


@pytest.fixture
def trained(monkeypatch):
    """Notes the runs that would be trained and leaves of each what training does; ``codes`` are what they exit with."""
    runs, codes = [], []

    def run_training(run):
        config, folder = run.config, Path(run.config.model_dir)
        runs.append(config)
        code = codes.pop(0) if codes else 0
        step = folder / "checkpoints" / str(2 if code else config.steps)
        step.mkdir(parents=True, exist_ok=True)
        (step / "_CHECKPOINT_METADATA").write_text("{}")
        if config.weighting is not None and not code:
            (folder / "learned_weights.gin").write_text("run.weights = {'sentiment': 0.25, 'topic': 0.75}\n")
        return code

    monkeypatch.setattr(console, "run_training", run_training)
    return runs, codes


def test_three_runs_in_one_go_and_on_where_they_stopped(trained, cli, tmp_path):
    runs, codes = trained
    (tmp_path / "base.gin").write_text(RUN)
    (tmp_path / "large.gin").write_text(RUN.replace("TRAIN_STEPS = 4", "TRAIN_STEPS = 9"))
    root = tmp_path / "doremi"
    command = (
        "doremi", "--gin_file", str(tmp_path / "base.gin"), "--final_gin_file", str(tmp_path / "large.gin"),
        "--model_dir", str(root), "--gin.DoReMi.units=cluster", "--gin.WEIGHTS={'sentiment': 1, 'topic': 1}",
    )  # fmt: skip
    codes += [0, 75]
    assert cli(*command).code == 75  # told to stop while the proxy trained
    assert [Path(run.model_dir).name for run in runs] == ["reference", "proxy"]
    reference, proxy = runs
    assert reference.weighting is None
    assert (proxy.weighting.reference, proxy.weighting.units) == (str(root / "reference"), "cluster")
    assert proxy.with_options(weighting=None, model_dir=reference.model_dir) == reference

    runs.clear()
    outcome = cli(*command)
    assert outcome.code == 0
    assert [Path(run.model_dir).name for run in runs] == ["proxy", "final"]
    assert str(root / "proxy" / "learned_weights.gin") in outcome.out
    final = runs[-1]
    assert (final.steps, final.weighting, dict(final.mixing.weights)) == (9, None, {"sentiment": 0.25, "topic": 0.75})

    runs.clear()
    assert cli(*command).code == 0
    assert [Path(run.model_dir).name for run in runs] == ["final"]  # it may still have to be measured


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "No --gin_file given"),
        (("--gin_file", "{base}", "--gin.MODEL_DIR=there"), "--gin.MODEL_DIR is what `flan-jax doremi` gives each"),
        (
            ("--gin_file", "{base}", "--gin.DoReMi.reference=x"),
            "--gin.DoReMi.reference is what `flan-jax doremi` gives",
        ),
        (("--gin_file", "{base}", "--gin.DoReMi.rat=1"), "Did you mean 'rate'"),
        (("--gin_file", "{base}", "--final_gin_file", "{wrong}"), "Did you mean 'TRAIN_STEPS'"),
        (("--gin_file", "{learning}"), "run.weighting is @Aioli() in the files"),
    ],
)
def test_what_is_wrong_with_any_run_is_said_before_the_first(arguments, sentence, trained, refused, tmp_path):
    files = {"base": RUN, "wrong": f"{RUN}TRAIN_STEP = 3\n", "learning": f"{RUN}run.weighting = @Aioli()\n"}
    for name, text in files.items():
        (tmp_path / f"{name}.gin").write_text(text)
    given = [text.format(**{name: tmp_path / f"{name}.gin" for name in files}) for text in arguments]
    assert sentence in refused("doremi", "--model_dir", str(tmp_path / "doremi"), *given)
    assert not trained[0]
