"""A job compiled for simulated devices: what the compiler says of a run's real programs."""

import dataclasses
from typing import Any

import jax
import pytest

from flan_jax.models.build import num_params
from flan_jax.models.operations import step_operations
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.t5gemma.config import T5GemmaConfig
from flan_jax.plan import measure as measuring
from flan_jax.plan.job import PlanJob
from flan_jax.plan.measure import measure
from flan_jax.testing.models import tiny_decoder, tiny_t5
from flan_jax.train.sharding import MeshConfig
from flan_jax.train.step_config import StepConfig

T5 = PlanJob(tiny_t5(), 16, 32, 16, target="v5e", devices=2, mesh=MeshConfig(1, 2, 1), programs=("train",))


def train_of(job: PlanJob) -> dict[str, Any]:
    found = measure(job)
    return {**found, **found["programs"]["train"]}


@pytest.fixture(scope="module")
def t5() -> dict[str, Any]:
    return train_of(T5)


def moved(found: dict[str, Any], *kinds: str) -> int:
    return sum(each["bytes"] for each in found["collectives"] if each["kind"] in kinds)


def test_bytes_and_operations_are_those_of_the_step(t5: dict[str, Any]) -> None:
    params = t5["state"]["parameters"]
    assert params * 2 == pytest.approx(4 * t5["state"]["count"], rel=0.02)  # float32 over two devices
    memory = t5["memory"]
    # The state comes in and goes out in the same place; of the batch the 8 rows of a device, but for what T5 does not read.
    batch = memory["arguments"] - params - t5["state"]["optimizer"]
    assert 0.6 * 4 * 8 * (3 * 32 + 6 * 16) < batch < 4 * 8 * (3 * 32 + 6 * 16) + 64
    assert memory["reused"] > 0.95 * params
    assert memory["peak"] > memory["arguments"]
    formula = step_operations(T5.model, 16, 32, 16)
    # Beyond the formula the program has the whole of causal scores; the two devices do it once between them.
    assert formula < t5["operations"] < 1.3 * formula
    assert 2 * t5["compiled_operations"] == pytest.approx(t5["operations"], rel=0.05)


def test_more_rows_send_no_more_but_their_embeddings(t5: dict[str, Any]) -> None:
    twice = train_of(dataclasses.replace(T5, rows=32))
    kinds = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute")
    ids = 4 * 16 * (3 * 32 + 6 * 16)
    # Parameters are gathered and gradients added up whatever the batch; of an activation each device has its own rows.
    assert moved(twice, *kinds) - moved(t5, *kinds) <= ids
    assert twice["operations"] == pytest.approx(2 * t5["operations"], rel=0.01)


def test_each_device_scores_its_own_rows() -> None:
    """Parameters are split by their width, and without a word of the rows the partitioner splits activations so, too."""
    job = dataclasses.replace(T5, devices=4, mesh=MeshConfig(1, 4, 1), eval_rows=16, programs=("score",))
    found = measure(job)["programs"]["score"]
    assert 4 * found["compiled_operations"] == pytest.approx(found["operations"], rel=0.05)
    assert moved(found, "all-reduce") == 0


def test_a_decoder_that_trains_a_part_in_microbatches() -> None:
    job = PlanJob(
        tiny_decoder(), 8, 16, 8, target="H100", devices=2, mesh=MeshConfig(1, 2, 1), step=StepConfig(microbatches=2),
        tuning=TuningConfig(lora_rank=2), programs=("train",),
    )  # fmt: skip
    found = train_of(job)
    assert found["state"]["frozen"] > 5 * found["state"]["parameters"]
    assert found["hosts"] == [0, 0]
    # The products of both parts are counted.
    formula = step_operations(job.model, 8, *job.row_lengths, frozen=True)
    assert formula < found["operations"] < 1.7 * formula


@pytest.mark.parametrize("merged", [True, False])
def test_operations_of_t5gemma(merged: bool) -> None:
    config = T5GemmaConfig(
        256, 32, 2, 2, 4, 2, 8, 64, merged_attention=merged, shared_embedding=merged, attention="dense", pad_id=0
    )
    found = train_of(dataclasses.replace(T5, model=config))
    formula = step_operations(config, 16, 32, 16)
    assert formula < found["operations"] < 1.3 * formula
    assert found["state"]["count"] == num_params(config)


def test_what_stays_whole_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "REPLICATED_FROM", 1024)
    job = dataclasses.replace(T5, mesh=MeshConfig(2, 1, 1), programs=())
    found = measure(job)["replicated"]
    assert found["params/embedding"] == 4 * job.model.vocab_size * job.model.d_model
    assert not measure(dataclasses.replace(T5, programs=()))["replicated"]


def test_nothing_is_allocated() -> None:
    before = len(jax.live_arrays())
    measure(dataclasses.replace(T5, programs=()))
    assert len(jax.live_arrays()) == before
