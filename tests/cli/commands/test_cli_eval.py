"""What ``flan-jax eval`` says and returns of tasks that could not be measured."""

import pytest

from flan_jax.cli.main import main
from flan_jax.errors import UserError
from flan_jax.eval.examples import TaskResult
from flan_jax.eval.suites import StepResults
from flan_jax.experiments import evaluate


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ({}, 0),
        ({"odd_task": UserError("Task 'odd_task' has no examples.")}, 2),
        ({"odd_task": RuntimeError("out of memory")}, 1),
        ({"odd_task": RuntimeError("out of memory"), "other": UserError("wrong")}, 1),
    ],
)
def test_failures_are_named_and_decide_the_exit_code(tmp_path, monkeypatch, capsys, errors, code):
    good = TaskResult("good", "c", "accuracy", "rank", 1.0, 0.5, 0.5, (1.0, 1.0), 1, {0: 1.0})
    results = StepResults(0, {"s": [good]}, {}).with_failures(errors)
    asked = []

    def measured(config, **keywords):
        asked.append(config.evaluation.option_score)
        return results

    monkeypatch.setattr(evaluate, "evaluate_run", measured)
    (tmp_path / "run").mkdir()
    assert (
        main(
            [
                "eval", "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin", "--gin.TRAIN_STEPS=1",
                f"--gin.MODEL_DIR={tmp_path / 'run'}", "--gin.MIXTURE_OR_TASK_NAME=mini", "--gin.EVAL_OPTION_SCORE=per_token",
                "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}",
            ]
        )
        == code
    )  # fmt: skip
    said = capsys.readouterr().err
    assert asked == ["per_token"]
    assert ("could not be measured" in said) == bool(errors)
    if errors:
        assert f"{len(errors)} of {1 + len(errors)} tasks could not be measured: {', '.join(errors)}." in said


def test_a_way_to_score_options_that_nobody_knows(tmp_path, capsys):
    arguments = [
        "eval", "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin", "--gin.TRAIN_STEPS=1",
        f"--gin.MODEL_DIR={tmp_path / 'run'}", "--gin.MIXTURE_OR_TASK_NAME=mini", "--gin.EVAL_OPTION_SCORE=per_tokn",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}",
    ]  # fmt: skip
    assert main(arguments) == 2
    assert "per_token" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
