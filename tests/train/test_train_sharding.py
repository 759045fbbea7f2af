import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

from flan_jax.errors import UserError
from flan_jax.train.sharding import MESH_AXES, MeshConfig, ShardingRules, _laid_out, fitted, make_mesh, make_partitioner


@pytest.mark.parametrize(
    ("config", "count", "sizes"),
    [
        (MeshConfig(), 8, (8, 1, 1)),
        (MeshConfig(2, 2, 2), 8, (2, 2, 2)),
        (MeshConfig(1, -1, 4), 8, (1, 2, 4)),
        (MeshConfig(data=1, tensor=-1), 6, (1, 1, 6)),
    ],
)
def test_sizes(config: MeshConfig, count: int, sizes: tuple[int, int, int]) -> None:
    assert config.sizes(count) == sizes


@pytest.mark.parametrize(
    "config", [MeshConfig(3, 1, 1), MeshConfig(-1, 3, 1), MeshConfig(4, 1, 1), MeshConfig(16, 1, 1)]
)
def test_sizes_must_multiply_to_the_devices(config: MeshConfig) -> None:
    with pytest.raises(UserError, match="8 devices"):
        config.sizes(8)


@pytest.mark.parametrize("config", [MeshConfig(-1, -1, 1), MeshConfig(0, 1, 1), MeshConfig(-2, 1, 1)])
def test_impossible_sizes(config: MeshConfig) -> None:
    with pytest.raises(UserError, match="at most one"):
        config.sizes(8)


def test_rules_place_each_axis_once() -> None:
    mesh, rules = make_mesh(MeshConfig(1, 4, 2)), ShardingRules()
    assert rules.spec(("layers", "embed", "mlp"), (6, 512, 1024), mesh) == P(None, "fsdp", "tensor")
    assert rules.spec(("layers", "embed", "mlp"), (6, 510, 1024), mesh) == P(None, None, "tensor")  # 4 ∤ 510
    assert rules.spec(("heads", "mlp"), (8, 8), mesh) == P("tensor")  # the first that asks
    assert rules.spec(("batch",), (12,), make_mesh(MeshConfig(2, 2, 2))) == P(("data", "fsdp"))
    assert rules.spec(("batch",), (6,), make_mesh(MeshConfig(2, 2, 2))) == P("data")


@given(
    st.lists(st.sampled_from(["layers", "embed", "mlp", "vocab", "heads", "buckets", "batch"]), max_size=4),
    st.lists(st.integers(1, 24), min_size=4, max_size=4),
    st.sampled_from([(8, 1, 1), (2, 2, 2), (1, 8, 1), (1, 2, 4)]),
)
def test_every_spec_is_valid(axes: list[str], lengths: list[int], sizes: tuple[int, int, int]) -> None:
    mesh = make_mesh(MeshConfig(*sizes))
    spec = ShardingRules().spec(axes, lengths[: len(axes)], mesh)
    used = [axis for dim in spec if dim for axis in (dim if isinstance(dim, tuple) else (dim,))]
    assert len(used) == len(set(used))
    for dim, length in zip(spec, lengths, strict=False):
        parts = np.prod([mesh.shape[axis] for axis in (dim if isinstance(dim, tuple) else (dim,)) if axis])
        assert length % parts == 0


def test_an_unmapped_axis_is_named() -> None:
    mesh = make_mesh(MeshConfig())
    with pytest.raises(UserError, match=r"'embd'.*'embed'"):
        ShardingRules().spec(("embd",), (8,), mesh)
    with pytest.raises(UserError, match=r"mesh axis 'tensors'.*'mlp'"):
        ShardingRules(mlp=("tensors",))


def test_param_shardings_follow_the_tree() -> None:
    partitioner = make_partitioner(MeshConfig(1, 2, 4))
    shapes = {"a": {"w": jax.ShapeDtypeStruct((2, 8, 8), np.float32)}, "norm": jax.ShapeDtypeStruct((8,), np.float32)}
    placed = partitioner.params({"a": {"w": ("layers", "embed", "mlp")}, "norm": ("embed",)}, shapes)
    assert (placed["a"]["w"].spec, placed["norm"].spec) == (P(None, "fsdp", "tensor"), P("fsdp"))


def test_shard_batch_puts_rows_on_devices_under_a_guard() -> None:
    partitioner = make_partitioner(MeshConfig(2, 2, 2))
    batch = {"tokens": np.arange(24, dtype=np.int32).reshape(8, 3)}
    with jax.transfer_guard("disallow"):
        tokens = partitioner.shard_batch(batch)["tokens"]
    assert tokens.sharding.spec == P(("data", "fsdp"))
    assert {shard.data.shape for shard in tokens.addressable_shards} == {(2, 3)}
    np.testing.assert_array_equal(jax.device_get(tokens), batch["tokens"])


def test_a_batch_of_many_arrays_is_one_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    put, calls = jax.device_put, []
    monkeypatch.setattr(jax, "device_put", lambda *arguments: calls.append(arguments) or put(*arguments))
    batch = {name: np.full((8, 3), place) for place, name in enumerate("abc")}
    placed = make_partitioner(MeshConfig(2, 2, 2)).shard_batch(batch)
    assert {name: int(array[7, 2]) for name, array in placed.items()} == {"a": 0, "b": 1, "c": 2}
    assert len(calls) == 1


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"6 rows .* 4 devices \(data × fsdp\).* multiple of 4"):
        make_partitioner(MeshConfig(2, 2, 2)).shard_batch({"tokens": np.zeros((6, 3), np.int32)})


def test_mesh_axes() -> None:
    assert make_mesh(MeshConfig(2, 2, 2)).axis_names == MESH_AXES


@dataclasses.dataclass(frozen=True)
class Chip:
    """A chip of TPU v4 as JAX shows it."""

    id: int
    coords: tuple[int, int, int]
    slice_index: int
    platform: str = "tpu"
    device_kind: str = "TPU v4"
    core_on_chip: int = 0
    process_index: int = 0


def chips(sides: tuple[int, int, int], slices: int) -> list[Any]:
    places = [(*place, index) for index in range(slices) for place in np.ndindex(*sides)]
    return [Chip(number, place[:3], place[3]) for number, place in enumerate(places)]


@pytest.mark.parametrize("sizes", [(1, 64, 2), (2, 32, 2), (1, 16, 8), (1, 128, 1)])
def test_a_side_of_a_torus_may_be_split(sizes: tuple[int, int, int]) -> None:
    found = _laid_out(sizes, chips((4, 4, 8), 1))
    assert found.shape == sizes
    assert len({chip.id for chip in found.flat}) == 128
    for group in found.reshape(-1, sizes[2]):  # the devices of `tensor` are neighbors
        near = np.asarray([chip.coords for chip in group])
        assert np.prod(near.max(0) - near.min(0) + 1) == sizes[2]


@pytest.mark.parametrize("sizes", [(2, 16, 1), (4, 4, 2), (1, 32, 1)])
def test_slices_lie_along_the_first_axes(sizes: tuple[int, int, int]) -> None:
    found = _laid_out(sizes, chips((2, 2, 4), 2)).reshape(2, -1)
    assert [{chip.slice_index for chip in half} for half in found] == [{0}, {1}]


def test_an_axis_that_would_split_a_slice_is_refused() -> None:
    with pytest.raises(UserError, match="over 2 slices: data and fsdp must be divided"):
        _laid_out((1, 1, 32), chips((2, 2, 4), 2))


def test_rules_of_a_configuration_decide_where_parameters_and_rows_lie() -> None:
    rules = ShardingRules(batch=("data",), vocab=("tensor", "fsdp"), embed=())
    partitioner = make_partitioner(MeshConfig(2, 2, 2, rules))
    assert partitioner.batch().spec == P(("data",))
    assert partitioner.batch_parts == 2
    axes, shapes = {"table": ("vocab", "embed")}, {"table": jax.ShapeDtypeStruct((8, 6), np.float32)}
    assert partitioner.params(axes, shapes)["table"].spec == P(("tensor", "fsdp"))
    assert rules.overrides() == {"batch": ("data",), "vocab": ("tensor", "fsdp"), "embed": ()}
    assert fitted(MeshConfig(3, 2, 2, rules), 8).rules == rules


def test_a_rule_is_a_sequence_of_mesh_axes() -> None:
    with pytest.raises(UserError, match=r"ShardingRules\.embed"):
        ShardingRules(embed="fsdp")  # type: ignore[arg-type]
