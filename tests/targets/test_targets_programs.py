"""Training, scoring and decoding compiled by the chips' own compilers, beside golden tables of collectives and bytes.

`make test-targets` installs the compilers and runs these; without them each is skipped and says why. A table that is
to change is written anew with FLAN_JAX_UPDATE_GOLDEN=1.
"""

import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from flan_jax.models.peft.config import TuningConfig
from flan_jax.plan.compile import compile_job
from flan_jax.plan.job import PlanJob
from flan_jax.plan.packages import compiler_for
from flan_jax.plan.targets import target_named
from flan_jax.testing.models import tiny_decoder, tiny_t5
from flan_jax.train.sharding import MeshConfig

pytestmark = [pytest.mark.targets, pytest.mark.timeout(1800)]
GOLDEN = Path(__file__).parents[1] / "golden" / "targets.json"
TARGETS = ("v4", "v5e", "v6e", "H100", "H200")
WITHIN = 0.05
"""Bytes may differ by so much from the table's: compilers of other patch releases lay temporaries out otherwise."""

T5 = PlanJob(
    dataclasses.replace(tiny_t5(), dtype="bfloat16", dropout_rate=0.1), 16, 64, 32, target="", eval_rows=16, num_tasks=3
)
# As wide as compilers split for real: what is small they add up whole, or send around the ring in pieces.
WIDE = dataclasses.replace(T5.model, d_model=512, d_ff=1024, num_heads=8, d_kv=64, vocab_size=8192)
DECODER = dataclasses.replace(T5, model=dataclasses.replace(tiny_decoder(), dtype="bfloat16"))
JOBS: dict[str, PlanJob] = {
    "t5": T5,
    "t5_data": dataclasses.replace(T5, devices=8, mesh=MeshConfig(8, 1, 1)),
    "t5_fsdp": dataclasses.replace(T5, devices=8, mesh=MeshConfig(1, 8, 1)),
    "t5_wide_fsdp": dataclasses.replace(
        T5, model=WIDE, inputs=256, targets=128, devices=8, mesh=MeshConfig(1, 8, 1), programs=("train",)
    ),
    "t5_all_remat": dataclasses.replace(
        T5, model=dataclasses.replace(T5.model, remat="full"), devices=8, mesh=MeshConfig(2, 2, 2)
    ),
    "decoder_fsdp": dataclasses.replace(DECODER, devices=8, mesh=MeshConfig(1, 8, 1)),
    "decoder_tensor_lora": dataclasses.replace(
        DECODER, devices=8, mesh=MeshConfig(4, 1, 2), tuning=TuningConfig(lora_rank=2)
    ),
    "decoder_chunked": dataclasses.replace(DECODER, model=dataclasses.replace(DECODER.model, attention="chunked")),
    "decoder_batch_chunked": dataclasses.replace(
        DECODER, model=dataclasses.replace(DECODER.model, attention="batch_chunked")
    ),
    "decoder_cudnn": dataclasses.replace(
        DECODER, model=dataclasses.replace(DECODER.model, attention="cudnn", d_head=64), devices=8, mesh=MeshConfig(2, 2, 2)
    ),
}  # fmt: skip


@functools.cache
def compiled(job: PlanJob, target: str) -> dict[str, Any]:
    """Compiles a job by the target's own compiler; skips the test where its package is not installed."""
    compiler = compiler_for(target_named(target))
    if compiler.name == "cpu":
        pytest.skip(f"the compiler of {target} is not installed: make test-targets")
    return compile_job(dataclasses.replace(job, target=target, compiler=compiler.name))


def table(found: dict[str, Any]) -> dict[str, Any]:
    """Returns of each program its peak, and for each kind of collective and its axes how often a run has it, and its bytes."""
    return {
        name: {
            "peak": program["memory"]["peak"],
            "collectives": {
                f"{each['kind']} {each['axes']}": [each["runs"], each["bytes"]] for each in program["collectives"]
            },
        }
        for name, program in found["programs"].items()
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", JOBS)
def test_every_program_compiles_as_its_table_says(name: str, target: str) -> None:
    if name == "decoder_cudnn" and target_named(target).platform == "tpu":
        pytest.skip("cuDNN is of NVIDIA's GPUs")
    found = compiled(JOBS[name], target)
    assert set(found["programs"]) == set(JOBS[name].programs)
    now = table(found)
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    key = f"{name} {target}"
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        known[key] = now
        GOLDEN.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    if key not in known:
        pytest.skip(f"{GOLDEN.name} has no table of {key} yet; FLAN_JAX_UPDATE_GOLDEN=1 writes it. It compiles")
    for program, expected in known[key].items():
        assert set(now[program]["collectives"]) == set(expected["collectives"]), program
        for kind, (runs, size) in expected["collectives"].items():
            assert now[program]["collectives"][kind] == [runs, pytest.approx(size, rel=WITHIN)], (program, kind)
        assert now[program]["peak"] == pytest.approx(expected["peak"], rel=WITHIN), program


def test_operations_of_cudnn_attention_are_counted() -> None:
    wide = dataclasses.replace(DECODER.model, d_head=8, max_positions=512)
    job = dataclasses.replace(DECODER, model=wide, inputs=400, targets=112, programs=("train",))
    fused = compiled(job, "H200")["programs"]["train"]
    chunks = compiled(dataclasses.replace(job, model=dataclasses.replace(wide, attention="dense")), "H200")
    # The kernel skips half of the scores, which dense attention in blocks does not; its backward pass has one product more.
    assert fused["compiled_operations"] == pytest.approx(fused["operations"], rel=0.02)
    assert 0.7 < fused["operations"] / chunks["programs"]["train"]["operations"] < 1


@pytest.mark.parametrize("target", ["v5e", "H200"])
def test_fully_sharded_gradients_are_scattered(target: str) -> None:
    moved: dict[str, int] = {}
    for each in compiled(JOBS["t5_wide_fsdp"], target)["programs"]["train"]["collectives"]:
        moved[each["kind"]] = moved.get(each["kind"], 0) + each["bytes"]
    # What is added up on every device is small: Adafactor's means, the loss, norms.
    assert moved["reduce-scatter"] > 50 * moved["all-reduce"]
