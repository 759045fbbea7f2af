"""Checkpoints of parameters, piece by piece: the restored arrays on any mesh, and what is left when it fails."""

import jax
import numpy as np
import optax
import pytest
from flax import traverse_util

from flan_jax.errors import UserError
from flan_jax.models.build import logical_axes
from flan_jax.models.huggingface.tensors import shapes_of
from flan_jax.testing.models import random_params, tiny_decoder, tiny_t5
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.checkpoint_stream import Piece, StoredParams, save_pieces
from flan_jax.train.sharding import MeshConfig, make_partitioner
from flan_jax.train.state import new_state

EVEN = tiny_t5(vocab_size=64, d_kv=4, num_heads=4, d_ff=32, num_encoder_layers=2, num_decoder_layers=2)


def pieces(params):
    for path, values in reversed(traverse_util.flatten_dict(params).items()):
        if "layers" in path:
            yield from (Piece(path, layer, values[layer]) for layer in reversed(range(len(values))))
        else:
            yield Piece(path, None, values)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("mesh", [MeshConfig(), MeshConfig(data=2, fsdp=2, tensor=2), MeshConfig(fsdp=8, data=1)])
def test_a_checkpoint_of_pieces_is_restored_onto_any_mesh(mesh, tmp_path):
    params = random_params(EVEN)
    save_pieces(tmp_path / "checkpoints", shapes_of(EVEN), pieces(params), extra={"source": "somewhere"})
    shardings = make_partitioner(mesh).params(logical_axes(EVEN), params)
    like = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), params, shardings)
    with Checkpointer(tmp_path / "checkpoints", create=False) as checkpointer:
        assert checkpointer.steps() == [0]
        restored = checkpointer.restore_params(like)
    assert_equal(restored, params)
    assert all(
        leaf.sharding == wanted
        for leaf, wanted in zip(jax.tree.leaves(restored), jax.tree.leaves(shardings), strict=True)
    )


@pytest.mark.parametrize("config", [EVEN, tiny_decoder()], ids=["t5", "decoder"])
def test_parameters_are_read_one_by_one_and_by_layer(config, tmp_path):
    params = random_params(config)
    save_pieces(tmp_path, shapes_of(config), pieces(params))
    stored = StoredParams(tmp_path)
    assert (stored.step, stored.run_config) == (0, {})
    assert_equal(stored.read_all(shapes_of(config)), params)
    for path, values in traverse_util.flatten_dict(params).items():
        if "layers" in path:
            assert stored.by_layer(path)
            np.testing.assert_array_equal(stored.read(path, 1), values[1])
    assert not stored.has(("encoder", "nothing"))
    with pytest.raises(UserError, match=r"has no parameter 'params\.nothing'"):
        stored.read(("nothing",))


def test_what_training_saved_is_read_too(tmp_path):
    params = random_params(EVEN)
    state = new_state(jax.tree.map(jax.numpy.asarray, params), optax.sgd(0.1), jax.random.key(0))
    with Checkpointer(tmp_path, config={"model": {"d_model": 16}}) as checkpointer:
        checkpointer.save(7, state, {})
    stored = StoredParams(tmp_path)
    assert (stored.step, stored.run_config) == (7, {"model": {"d_model": 16}})
    assert_equal(stored.read_all(shapes_of(EVEN)), params)
    with pytest.raises(UserError, match="no checkpoint of step 3, only of: 7"):
        StoredParams(tmp_path, 3)


def test_a_stream_that_breaks_off_or_lacks_something_leaves_no_checkpoint(tmp_path):
    every = list(pieces(random_params(EVEN)))

    def broken():
        yield from every[:3]
        raise UserError("the file ends here")

    with pytest.raises(UserError, match="the file ends here"):
        save_pieces(tmp_path / "a", shapes_of(EVEN), broken())
    with pytest.raises(ValueError, match="of 1024 values came"):
        save_pieces(tmp_path / "b", shapes_of(EVEN), [piece for piece in every if piece.path != ("embedding",)])
    for folder in ("a", "b"):
        with Checkpointer(tmp_path / folder, create=False) as checkpointer:
            assert checkpointer.steps() == []


def test_there_must_be_a_checkpoint(tmp_path):
    with pytest.raises(UserError, match="There is no checkpoint folder"):
        StoredParams(tmp_path / "none")
    with pytest.raises(UserError, match="holds no checkpoint"):
        StoredParams(tmp_path)
