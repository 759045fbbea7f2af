"""`flan-jax plan`: what it prints, what it refuses, and the process that compiles."""

import json
from typing import Any

import pytest

from flan_jax.cli.main import main
from flan_jax.errors import UserError
from flan_jax.plan import plan as planning
from flan_jax.plan.compile import compile_job
from flan_jax.plan.job import PlanJob
from flan_jax.plan.measure import measure
from flan_jax.testing.models import tiny_t5
from flan_jax.train.sharding import MeshConfig

RUN = [
    "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin", "--gin.MIXTURE_OR_TASK_NAME=mini",
    "--gin.TASK_FEATURE_LENGTHS={'inputs': 32, 'targets': 16}", "--gin.TRAIN_STEPS=1000", "--gin.BATCH_SIZE=16",
]  # fmt: skip


def plan(capsys: pytest.CaptureFixture[str], tmp_path: Any, *arguments: str) -> tuple[int, str, str]:
    code = main(["plan", *RUN, f"--gin.MODEL_DIR={tmp_path}/run", *arguments])
    return code, *capsys.readouterr()


def test_a_run_is_planned_and_nothing_is_written(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(planning, "compile_job", measure)  # here, as this process has simulated devices
    code, out, _ = plan(
        capsys,
        tmp_path,
        "--target",
        "v5e",
        "--devices",
        "2",
        "--simulate",
        "--programs",
        "train",
        "--price",
        "3",
        "--json",
    )
    assert code == 0
    found = json.loads(out)
    assert (found["fits"], found["mesh"]) == (True, {"data": 2, "fsdp": 1, "tensor": 1})
    assert found["simulated"].startswith("As asked, the programs were compiled for simulated CPU devices")
    assert found["run"]["tokens"] == 1000 * 16 * 48
    assert found["run"]["dollars"][0] == pytest.approx(2 * 3 * found["run"]["seconds"][0] / 3600)
    assert {each["kind"] for each in found["programs"]["train"]["collectives"]} == {"all-reduce"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "v5", "--devices", "8"), "Unknown target 'v5'. Did you mean 'v5p' or 'v5e'?"),
        (("--target", "v5e", "--devices", "6"), "The nearest: --devices 4 or 8."),
        (("--target", "v5e", "--devices", "32"), "cannot be split over 32 devices. The nearest sizes: 32."),
        (("--target", "v5e", "--devices", "8", "--gin.MeshConfig.fsdp=3"), "does not fit 8 devices"),
        (("--target", "H100", "--devices", "8", "--programs", "trian"), "Did you mean 'train'?"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], words: str, capsys, tmp_path) -> None:
    code, out, err = plan(capsys, tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_a_process_of_its_own_compiles() -> None:
    job = PlanJob(tiny_t5(), 8, 8, 8, target="H100", devices=16, mesh=MeshConfig(2, 8, 1), programs=())
    found = compile_job(job)  # with more devices than this process has
    assert (found["mesh"], found["hosts"]) == ({"data": 2, "fsdp": 8, "tensor": 1}, [0] * 8 + [1] * 8)
    with pytest.raises(UserError, match="does not fit 16 devices"):
        compile_job(PlanJob(tiny_t5(), 8, 8, 8, target="H100", devices=16, mesh=MeshConfig(3, 1, 1), programs=()))
