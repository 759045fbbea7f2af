"""Training a part of a model: what is frozen stays, costs nothing, and is in no checkpoint."""

import dataclasses
import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import with_deep
from run_tiny import MODEL, NUM_TASKS, SEED, initial_state, make_batch, one_device

from flan_jax.errors import UserError
from flan_jax.models.build import logical_axes
from flan_jax.models.ops.quantized import QUANTIZED, QuantizedKernel, is_quantized, quantize
from flan_jax.models.peft.adapters import join
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.peft.storage import cast_params
from flan_jax.testing.models import random_params, tiny_decoder
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer
from flan_jax.train.sharding import MeshConfig, make_partitioner, place
from flan_jax.train.state import (
    TrainState,
    abstract_sharded_state,
    init_state,
    quantized_by_layer,
    shardings_of,
    trained_axes,
)
from flan_jax.train.step import compile_loss_step, compile_train_step

LORA = TuningConfig(lora_rank=2, lora_alpha=4, lora_patterns=("q", "v", "wi_0", "wo"))
HALF = dataclasses.replace(LORA, frozen_dtype="bfloat16")
BIASES = TuningConfig(train=("scale", "table"))
SMALL = {"xla_backend_optimization_level": 0}


class Tuned:
    """A run that trains a part of the tiny model on one mesh."""

    def __init__(self, tuning: TuningConfig, mesh: MeshConfig | None = None, optimizer: str = "adamw") -> None:
        self.tuning, self.partitioner = tuning, make_partitioner(mesh) if mesh else one_device()
        config = OptimizerConfig(name=optimizer, learning_rate=1e-2, min_dim_size_to_factor=2)
        self.optimizer = make_optimizer(config, trained_axes(MODEL, tuning))
        self.graphdef, self.abstract = abstract_sharded_state(MODEL, self.optimizer, self.partitioner, tuning=tuning)
        self._host: TrainState | None = None
        self.step = compile_train_step(
            shardings_of(self.abstract),
            self.partitioner,
            graphdef=self.graphdef,
            optimizer=self.optimizer,
            schedule=learning_rate(config),
            num_tasks=NUM_TASKS,
            tuning=tuning,
            compiler_options=SMALL,
        )

    def start(self) -> TrainState:
        if self._host is None:  # initialised once: to compile that takes longer than all of the steps
            # Adapters on one device come with a base that is drawn with them; the others have the same one, as it is.
            alone = self.tuning == LORA and self.partitioner.batch_parts == 1
            base = None if alone else initial_state("adamw").params
            state = init_state(MODEL, self.optimizer, SEED, self.partitioner, params=base, tuning=self.tuning)[1]
            self._host = jax.device_get(dataclasses.replace(state, key=jax.random.key_data(state.key)))
        key = jax.random.wrap_key_data(place(self._host.key, self.abstract.key.sharding))
        like = dataclasses.replace(self.abstract, key=self._host.key)
        state = jax.tree.map(
            lambda leaf, to: place(leaf, to.sharding) if hasattr(to, "sharding") else leaf, self._host, like
        )
        return dataclasses.replace(state, key=key)

    def put(self, index: int) -> dict[str, jax.Array]:
        return self.partitioner.shard_batch(make_batch(index))

    def go(self, state: TrainState, first: int, last: int, *, same: bool = False) -> tuple[TrainState, list[float]]:
        losses = []
        for index in range(first, last):
            state, metrics = self.step(state, self.put(0 if same else index))
            losses.append(float(metrics["loss"]))
        return state, losses


@functools.cache
def tuned(name: str, optimizer: str = "adamw") -> Tuned:
    few = {each: dataclasses.replace(LORA, frozen_dtype=each) for each in ("int8", "nf4")}
    return Tuned({"lora": LORA, "biases": BIASES, "half": HALF, **few}[name], optimizer=optimizer)


def pointers(tree: object) -> list[int]:
    return [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(tree)]


def leaves_equal(left: object, right: object) -> None:
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(left), jax.device_get(right))


@pytest.mark.parametrize("name", with_deep(["lora", "biases"], ["half"]))
def test_the_loss_falls_and_what_is_frozen_is_neither_changed_nor_copied(name: str) -> None:
    run = tuned(name)
    state = run.start()
    before, places = jax.device_get(state.frozen), pointers(state.frozen)
    begun = jax.device_get(state.params)
    state, losses = run.go(state, 0, 8, same=True)
    assert losses[-1] < losses[0] - 0.1
    assert pointers(state.frozen) == places  # the very buffers
    leaves_equal(state.frozen, before)
    changed = jax.tree.map(lambda old, new: not np.array_equal(old, new), begun, jax.device_get(state.params))
    assert all(jax.tree.leaves(changed))


def test_optimiser_and_gradients_have_the_size_of_the_adapters() -> None:
    run = tuned("lora")
    trained = sum(leaf.size for leaf in jax.tree.leaves(run.abstract.params))
    moments = sum(leaf.size for leaf in jax.tree.leaves(run.abstract.opt_state))
    assert 2 * trained <= moments <= 2 * trained + 4  # two moments and some counters
    assert {path[-1].key for path, _ in jax.tree.leaves_with_path(run.abstract.params)} == {"lora_a", "lora_b"}


def test_what_is_frozen_has_no_gradient() -> None:
    def flops(tuning: TuningConfig) -> float:
        run = Tuned(tuning)
        batch = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in make_batch(0).items()}
        return run.step.lower(run.abstract, batch).cost_analysis()["flops"]  # type: ignore[attr-defined]

    # Of the three products of a kernel in a step (forward, to the inputs, to the kernel) the last is left out.
    assert flops(dataclasses.replace(BIASES, train=("scale",))) < 0.8 * flops(TuningConfig())


@pytest.mark.parametrize("name", ["adafactor", "muon"])
def test_optimisers_take_adapters_for_matrices(name: str) -> None:
    optimizer = make_optimizer(OptimizerConfig(name=name, min_dim_size_to_factor=2), trained_axes(MODEL, LORA))
    abstract = abstract_sharded_state(MODEL, optimizer, one_device(), tuning=LORA)[1]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), abstract.params)
    updates, _ = jax.jit(lambda values: optimizer.update(values, optimizer.init(values), values))(params)
    if name == "adafactor":  # rows and columns of each of two layers, not the matrix
        shapes = {leaf.shape for leaf in jax.tree.leaves(abstract.opt_state)}
        assert {(2, 16), (2, 2)} <= shapes
        assert (2, 16, 2) not in shapes
    else:  # the update of each layer's matrix is orthogonal: its singular values are of about one size
        for leaf in updates["encoder"]["layers"]["attention"]["q"].values():
            sizes = np.linalg.svd(np.asarray(leaf), compute_uv=False)
            assert sizes.shape == (2, 2)
            assert (sizes.min(axis=1) > 0.5 * sizes.max(axis=1)).all()


@pytest.mark.parametrize("name", with_deep(["lora", "nf4"], ["half", "int8"]))
def test_resuming_is_bitwise_the_same_and_a_checkpoint_holds_no_base(name: str, tmp_path: Path) -> None:
    run = tuned(name)
    with Checkpointer(tmp_path) as checkpointer:
        state, _ = run.go(run.start(), 0, 2)
        checkpointer.save(2, state, {})
        checkpointer.wait()
        through, losses = run.go(state, 2, 5)
        fresh = run.start()
        restored = checkpointer.restore(fresh).state
        assert pointers(restored.frozen) == pointers(fresh.frozen)
        again, again_losses = run.go(restored, 2, 5)
        params = checkpointer.restore_params(run.abstract.params)
        shapes_alone = checkpointer.restore(run.abstract).state
    assert again_losses == losses
    leaves_equal(dataclasses.replace(through, key=through.step), dataclasses.replace(again, key=again.step))
    assert jax.tree.structure(params) == jax.tree.structure(again.params)
    assert isinstance(jax.tree.leaves(shapes_alone.frozen)[0], jax.ShapeDtypeStruct)
    import orbax.checkpoint as ocp

    tree = ocp.PyTreeCheckpointer().metadata(tmp_path / "2" / "state").item_metadata.tree
    assert sorted(tree) == ["key", "opt_state", "params", "step"]
    assert sorted(tree["params"]["encoder"]["layers"]["attention"]) == ["q", "v"]
    assert sorted(tree["params"]["encoder"]["layers"]["attention"]["q"]) == ["lora_a", "lora_b"]


@pytest.mark.parametrize("mesh", [(2, 2, 2)], ids=str)
def test_every_mesh_computes_the_same_losses(mesh: tuple[int, int, int]) -> None:
    run = Tuned(LORA, MeshConfig(*mesh))
    state = run.start()
    q = state.params["encoder"]["layers"]["attention"]["q"]
    kernel = state.frozen["encoder"]["layers"]["attention"]["q"]
    names = kernel.sharding.spec
    assert q["lora_a"].sharding.spec == jax.sharding.PartitionSpec(*names[:2])
    assert q["lora_b"].sharding.spec == jax.sharding.PartitionSpec(*(None, None, *names[2:]) if names[2:] else ())
    own = jax.tree.leaves((state.step, state.params, state.opt_state))
    state, losses = run.go(state, 0, 4)
    assert all(leaf.is_deleted() for leaf in own)  # donated; what is frozen is not
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state.frozen))
    assert shardings_of(state) == shardings_of(run.abstract)
    alone, expected = tuned("lora").go(tuned("lora").start(), 0, 4)
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=2e-4),
        jax.device_get(state.params),
        jax.device_get(alone.params),
    )


def test_a_validation_loss_of_the_whole() -> None:
    run = tuned("lora")
    loss_step = compile_loss_step(
        shardings_of(run.abstract), run.partitioner, graphdef=run.graphdef, num_tasks=NUM_TASKS, tuning=LORA
    )
    state = run.start()
    before = loss_step(join(state.params, state.frozen, LORA), run.put(0)).loss
    state, _ = run.go(state, 0, 4, same=True)
    assert loss_step(join(state.params, state.frozen, LORA), run.put(0)).loss < before


def test_a_base_that_is_given_is_the_one_that_is_frozen() -> None:
    run = tuned("lora")
    given = random_params(MODEL)
    state = init_state(MODEL, run.optimizer, 0, run.partitioner, params=given, tuning=LORA)[1]
    np.testing.assert_array_equal(state.frozen["embedding"], given["embedding"])
    leaves_equal(state.params, run.start().params)  # adapters follow the seed, whatever the base


def test_another_rank_does_not_fit_a_checkpoint(tmp_path: Path) -> None:
    run = tuned("lora")
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, run.start(), {})
        checkpointer.wait()
        wider = dataclasses.replace(LORA, lora_rank=3)
        optimizer = make_optimizer(OptimizerConfig(name="adamw"), trained_axes(MODEL, wider))
        like = abstract_sharded_state(MODEL, optimizer, run.partitioner, tuning=wider)[1]
        with pytest.raises(UserError, match=r"params/decoder/layers/.*lora_a has shape \(1, 16, 2\), not \(1, 16, 3\)"):
            checkpointer.restore(like)


def test_a_base_in_16_bits() -> None:
    run, wide = tuned("half"), tuned("lora")
    state, abstract = run.start(), run.abstract
    dtypes = {path[-1].key: leaf.dtype for path, leaf in jax.tree.leaves_with_path(state.frozen)}
    assert dtypes["q"] == dtypes["embedding"] == dtypes["lm_head"] == jnp.bfloat16
    assert dtypes["scale"] == dtypes["table"] == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype("float32")}
    of_both = jax.tree.map(lambda leaf, like: leaf.dtype == like.dtype, state, abstract)
    assert all(jax.tree.leaves(of_both))
    # What adapters, the norms and the data are is what they are beside a base in float32.
    leaves_equal(state.params, wide.start().params)
    losses, expected = (of.go(of.start(), 0, 4)[1] for of in (run, wide))
    np.testing.assert_allclose(losses, expected, rtol=5e-3)
    assert losses != expected


@pytest.mark.parametrize(("name", "distance"), [("int8", 5e-3), ("nf4", 3e-2)])
def test_losses_on_a_quantized_base_stay_near_those_on_the_whole(name: str, distance: float) -> None:
    run, wide = tuned(name), tuned("lora")
    kernel = run.start().frozen["encoder"]["layers"]["attention"]["k"]
    assert (kernel.format, kernel.scale.dtype) == (name, jnp.float32)
    assert jax.tree.structure(run.start().frozen) == jax.tree.structure(run.abstract.frozen)
    leaves_equal(run.start().params, wide.start().params)
    losses, expected = (of.go(of.start(), 0, 6)[1] for of in (run, wide))
    np.testing.assert_allclose(losses, expected, rtol=distance)
    assert losses != expected


def test_what_a_quantized_base_is_made_of_is_gone_from_the_step() -> None:
    batch = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in make_batch(0).items()}

    def arguments(name: str) -> int:
        compiled = tuned(name).step.lower(tuned(name).abstract, batch).compile()  # type: ignore[attr-defined]
        return compiled.memory_analysis().argument_size_in_bytes

    wide = arguments("lora")
    of_tables = 2 * sum(tuned("lora").abstract.frozen[name].size for name in ("embedding", "lm_head"))
    for name, bytes_each in (("int8", 1), ("nf4", 0.5)):
        leaves = jax.tree.leaves(tuned(name).abstract.frozen, is_leaf=is_quantized)
        kernels = [leaf for leaf in leaves if is_quantized(leaf)]
        saved = sum((4 - bytes_each) * math.prod(leaf.whole_shape) - 4 * leaf.scale.size for leaf in kernels)
        assert wide - arguments(name) == pytest.approx(saved + of_tables, rel=0.01)


def test_a_quantized_base_lies_on_a_mesh_as_its_kernels_do() -> None:
    run, alone = Tuned(dataclasses.replace(LORA, frozen_dtype="nf4"), MeshConfig(2, 2, 2)), tuned("nf4")
    state = run.start()
    codes = state.frozen["encoder"]["layers"]["attention"]["k"].codes
    assert codes.sharding.spec == jax.sharding.PartitionSpec(None, "fsdp", "tensor")
    leaves_equal(state.frozen, alone.start().frozen)  # the codes are of the base, whatever the mesh
    losses, expected = (of.go(of.start(), 0, 3)[1] for of in (run, alone))
    np.testing.assert_allclose(losses, expected, rtol=2e-5)


@pytest.mark.parametrize("storage", QUANTIZED)
def test_a_kernel_is_quantized_as_its_layers_come(storage) -> None:
    kernel = np.asarray(np.random.default_rng(0).standard_normal((2, 3, 96, 12)), jnp.bfloat16)
    whole = quantize(jnp.asarray(kernel), storage, ("embed", "mlp"))
    partitioner = make_partitioner(MeshConfig(2, 2, 2))
    axes = (None, "layers", "embed", "mlp")
    shards = partitioner.params({"codes": axes, "scale": axes}, {"codes": whole.codes, "scale": whole.scale})
    to, before = QuantizedKernel(**shards, format=storage, axes=whole.axes), []

    def layers():
        for index in np.ndindex(2, 3):
            # Every layer is done with before the next is read.
            before.append(sum(leaf.nbytes for leaf in jax.live_arrays() if leaf.shape == (96, 12)))
            yield kernel[index]

    found = quantized_by_layer(kernel.shape, layers(), to, storage)
    leaves_equal(found, whole)
    assert (found.codes.sharding, found.scale.sharding) == (to.codes, to.scale)
    assert max(before) <= before[0] + kernel[0, 0].nbytes


def test_a_decoder_trains_on_a_quantized_base() -> None:
    config, partitioner = tiny_decoder(vocab_size=32, d_model=64, d_ff=96), one_device()
    batch = {name: value for name, value in make_batch(0).items() if name.startswith("decoder")}
    batch = {name: np.minimum(value, 31) if "token" in name else value for name, value in batch.items()}

    def losses(frozen_dtype: str) -> list[float]:
        tuning = dataclasses.replace(LORA, frozen_dtype=frozen_dtype)
        rule = OptimizerConfig(name="adamw", learning_rate=1e-2)
        optimizer = make_optimizer(rule, trained_axes(config, tuning))
        graphdef, state = init_state(config, optimizer, 0, partitioner, tuning=tuning)
        step = compile_train_step(
            shardings_of(state), partitioner, graphdef=graphdef, optimizer=optimizer, schedule=learning_rate(rule),
            num_tasks=NUM_TASKS, tuning=tuning, compiler_options=SMALL,
        )  # fmt: skip
        found = []
        for _ in range(5):
            state, metrics = step(state, partitioner.shard_batch(batch))
            found.append(float(metrics["loss"]))
        return found

    expected = losses("float32")
    assert expected[-1] < expected[0]
    for frozen_dtype, distance in (("int8", 5e-3), ("nf4", 6e-2)):  # of random weights
        found = losses(frozen_dtype)
        np.testing.assert_allclose(found, expected, rtol=distance)
        assert found[-1] < found[0]
        assert found != expected


@pytest.mark.parametrize("name", ["half", "int8", "nf4"])
def test_a_given_base_is_rounded_wherever_it_comes_from(name: str) -> None:
    run = tuned(name)
    host = random_params(MODEL)
    plain = jax.tree.map(jnp.asarray, host)
    of_host = init_state(MODEL, run.optimizer, 0, run.partitioner, params=host, tuning=run.tuning)[1]
    of_device = init_state(MODEL, run.optimizer, 0, run.partitioner, params=plain, tuning=run.tuning)[1]
    leaves_equal(of_host.frozen, of_device.frozen)
    # What is quantized already is taken as it is.
    kept = cast_params(plain, logical_axes(MODEL), run.tuning)
    leaves_equal(
        init_state(MODEL, run.optimizer, 0, run.partitioner, params=kept, tuning=run.tuning)[1].frozen, of_host.frozen
    )
    np.testing.assert_array_equal(of_host.frozen["embedding"], host["embedding"].astype(jnp.bfloat16))
