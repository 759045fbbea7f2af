"""A run's folder as an earlier version made it: it is shown, measured, and trained on.

``old_run.tar.xz`` holds the run and its store, two steps on ``old_run_tasks``, written by revision e79ebc3.
"""

import json
import re
import tarfile
from pathlib import Path

import pytest

from flan_jax.cli.main import main
from flan_jax.train.hooks import read_metrics

ARCHIVE = Path(__file__).with_name("old_run.tar.xz")
IMPORT = ("--module_import", "old_run_tasks")
LOSSES = {1: 5.95008659362793, 2: 5.9424309730529785, 3: 5.880481719970703, 4: 5.958152770996094}
"""What the version that made the run logged when it went on itself."""
EXAMPLES = {"old_plain_zs_opt": 21, "old_asked_zs_opt": 11}
"""What it had drawn after step 4."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ARCHIVE.parent))
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "run"


def resumed(steps: int, *more: str) -> int:
    return main(["train", *IMPORT, "--gin_file", "run/config.gin", f"--gin.TRAIN_STEPS={steps}", *more])


def test_it_is_shown(folder):
    assert main(["report", "run"]) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "old_unseen_zs_opt" in page
    assert "old_run_mixture" in page
    assert "old_plain_zs_opt" in page


def test_it_is_measured(folder, capsys):
    assert main(["eval", *IMPORT, "--model_dir", "run"]) == 0
    assert "old_unseen_zs_opt" in capsys.readouterr().out
    results = json.loads((folder / "eval" / "2" / "results.json").read_text(encoding="utf-8"))
    assert results["suites"]["held_out"][0]["n"] == 4


def without(path: Path, *names: str) -> None:
    """Takes fields out of a configuration, as if the run were older than they."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for name in names:
        inner, _, last = name.rpartition(".")
        del (content["config"][inner] if inner else content["config"])[last]
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("newer", [(), ("separator", "exhausted", "model.attention", "optimizer.momentum")])
def test_it_goes_on_as_it_would_have_then(newer, folder, capsys):
    for path in (folder / "manifest.json", folder / "checkpoints" / "2" / "run" / "metadata"):
        without(path, *newer)
    assert resumed(4) == 0
    lines = read_metrics(folder / "metrics.jsonl")
    assert {line["step"]: line["loss"] for line in lines} == pytest.approx(LOSSES, rel=1e-5)
    assert {name: row["examples"] for name, row in lines[-1]["sampled"].items()} == EXAMPLES
    assert "resuming at step 2" in capsys.readouterr().err


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_with_fewer_steps_than_it_has_taken_says_so(steps, folder, capsys):
    assert resumed(steps) == 0
    told = capsys.readouterr().err
    assert f"nothing is left to train: step 2 is saved, and the run has {steps} steps (TRAIN_STEPS)" in told
    assert "resuming" not in told
    assert "measuring step 2" in told


@pytest.mark.parametrize("path", ["manifest.json", "checkpoints/2/run/metadata"])
def test_another_value_of_a_newer_field_is_another_run(path, folder, capsys):
    for name in ("manifest.json", "checkpoints/2/run/metadata"):
        without(folder / name, "pack")
    if path != "manifest.json":  # the checkpoint alone says what the run was
        (folder / "manifest.json").unlink()
    arguments = ["train", *IMPORT, "--gin_file", "run/config.gin", "--gin.TRAIN_STEPS=4", "--gin.run.pack=False"]
    assert main(arguments) == 2
    assert "another run: pack: True → False" in capsys.readouterr().err


def test_an_option_that_came_later_is_the_default_or_another_run(folder, capsys):
    """``run.microbatches`` is younger than the folder: neither its manifest nor its checkpoint knows of it."""
    assert "microbatches" not in json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["config"]
    assert resumed(4, "--gin.run.microbatches=2") == 2
    assert "another run: microbatches: 1 → 2" in capsys.readouterr().err
    assert [line["step"] for line in read_metrics(folder / "metrics.jsonl")] == [1, 2]
    assert resumed(3, "--gin.run.microbatches=1") == 0
    assert "resuming at step 2 of 3" in capsys.readouterr().err


# Of four examples, and of the options that are scored without a prompt too.
FINISHED = re.compile(r"evaluate (\d+)/\1 examples")


def results_of(folder: Path) -> dict:
    return json.loads((folder / "eval" / "2" / "results.json").read_text(encoding="utf-8"))


def test_results_are_measured_again_where_weights_or_settings_are_not_theirs(folder, capsys):
    def said(*more: str, measured: bool = False) -> list[str]:
        assert resumed(2, *more) == 0
        lines = capsys.readouterr().err.splitlines()
        assert any(map(FINISHED.fullmatch, lines)) == measured
        return [line for line in lines if "again" in line]

    (first,) = said(measured=True)
    assert first == (
        "measuring suite 'held_out' of step 2 again: it was measured by an earlier version, which did not note "
        "weights and settings"
    )
    noted = results_of(folder)
    assert len(noted["weights"]) == 16
    assert noted["settings"]["held_out"]["tasks"]["old_unseen_zs_opt"]["examples"] == 4
    assert said() == []  # nothing changed, nothing is measured
    (changed,) = said("--gin.EvalConfig.max_examples=3", measured=True)
    assert (
        "again: it was measured with other settings (max_examples: 0 → 3; examples of old_unseen_zs_opt: 4 → 3)"
        in changed
    )
    assert results_of(folder)["suites"]["held_out"][0]["n"] == 3
    # Weights that are others now: the results say of which they are.
    tampered = {**results_of(folder), "weights": "0" * 16}
    (folder / "eval" / "2" / "results.json").write_text(json.dumps(tampered), encoding="utf-8")
    assert said("--gin.EvalConfig.max_examples=3", measured=True) == [
        "measuring suite 'held_out' of step 2 again: it was measured with other weights"
    ]
    # What `eval` measures belongs to the same weights as what `train` measured.
    assert main(["eval", *IMPORT, "--model_dir", "run"]) == 0
    assert "max_examples: 3 → 0" in capsys.readouterr().err
    assert results_of(folder) == noted


def test_results_of_other_settings_are_marked(folder, capsys):
    assert main(["eval", *IMPORT, "--model_dir", "run", "--gin.EvalConfig.max_examples=3"]) == 0
    other = folder / "eval" / "1"
    other.mkdir()
    (other / "results.json").write_text(json.dumps({**results_of(folder), "step": 1}), encoding="utf-8")
    capsys.readouterr()
    assert main(["eval", *IMPORT, "--model_dir", "run"]) == 0
    note = (
        "held_out at step 1 was measured with other settings than at 2: max_examples: 3 → 0; examples of "
        "old_unseen_zs_opt: 3 → 4"
    )
    assert f"note: {note}" in capsys.readouterr().out
    assert note in (folder / "report.html").read_text(encoding="utf-8")
