from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from run_tiny import MODEL, TinyRun

from flan_jax.errors import UserError
from flan_jax.models.build import logical_axes
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.checkpoint_config import CheckpointConfig
from flan_jax.train.optimizer import OptimizerConfig, make_optimizer
from flan_jax.train.sharding import MeshConfig, make_partitioner
from flan_jax.train.state import TrainState, abstract_sharded_state


@pytest.fixture(scope="module")
def state(tiny_run: TinyRun) -> TrainState:
    return tiny_run.start()


def other_state(mesh: MeshConfig | None = None, optimizer: str = "adamw", **model: int) -> TrainState:
    import dataclasses

    config = dataclasses.replace(MODEL, **model)
    built = make_optimizer(OptimizerConfig(name=optimizer, clip_norm=1.0, weight_decay=0.1), logical_axes(config))
    return abstract_sharded_state(config, built, make_partitioner(mesh or MeshConfig()))[1]


def test_the_last_ones_and_every_nth_are_kept(state: TrainState, tmp_path: Path) -> None:
    with Checkpointer(tmp_path, CheckpointConfig(keep=2, keep_period=4)) as checkpointer:
        for step in range(1, 8):
            checkpointer.save(step, state, {})
        checkpointer.wait()
        assert checkpointer.steps() == [4, 6, 7]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["4", "6", "7"]


def test_a_preempted_run_that_had_been_resumed_saves(state: TrainState, tmp_path: Path, monkeypatch) -> None:
    """Orbax asks how long ago the checkpoint before it was saved, which an earlier start of the run has done."""
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, state, {})
    with Checkpointer(tmp_path) as checkpointer:
        monkeypatch.setattr(checkpointer._manager, "reached_preemption", lambda step: True)
        checkpointer.save(2, state, {})
        checkpointer.wait()
        assert checkpointer.steps() == [1, 2]


def test_restore_onto_another_mesh(state: TrainState, tmp_path: Path) -> None:
    like = other_state(MeshConfig(2, 2, 2))
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, state, {"position": 12}, {"note": [1, 2]})
        checkpointer.wait()
        restored = checkpointer.restore(like)
        params = checkpointer.restore_params(like.params)
    assert (restored.data_position, restored.extra) == ({"position": 12}, {"note": [1, 2]})
    assert jax.tree.map(lambda leaf: leaf.sharding, restored.state) == jax.tree.map(lambda leaf: leaf.sharding, like)
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, (restored.state.params, state.params)))
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, (params, state.params)))
    assert jax.random.key_data(restored.state.key).tolist() == jax.random.key_data(state.key).tolist()


def test_nothing_is_pickled_and_the_tree_is_plain(state: TrainState, tmp_path: Path) -> None:
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, state, {})
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or not path.read_bytes().startswith(b"\x80\x04"), path
    import orbax.checkpoint as ocp

    tree = ocp.PyTreeCheckpointer().metadata(tmp_path / "1" / "state").item_metadata.tree
    assert sorted(tree) == ["key", "opt_state", "params", "step"]
    assert tree["params"]["encoder"]["layers"]["mlp"]["wi_0"].shape == (2, 16, 32)


def test_a_folder_without_checkpoints(state: TrainState, tmp_path: Path) -> None:
    with Checkpointer(tmp_path / "new") as checkpointer:
        assert checkpointer.latest_step() is None
        with pytest.raises(UserError, match="new' holds no checkpoint; train there first"):
            checkpointer.restore(state)
    with pytest.raises(UserError, match="no checkpoint folder"):
        Checkpointer(tmp_path / "absent", create=False)
    assert not (tmp_path / "absent").exists()


def test_a_save_that_was_killed_is_not_there(state: TrainState, tmp_path: Path) -> None:
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, state, {})
    (tmp_path / "2.orbax-checkpoint-tmp-7").mkdir()
    (tmp_path / "2.orbax-checkpoint-tmp-7" / "state").mkdir()
    with Checkpointer(tmp_path) as checkpointer:
        assert checkpointer.steps() == [1]
        checkpointer.save(2, state, {})
        checkpointer.wait()
        assert checkpointer.steps() == [1, 2]


def test_a_step_that_is_there_stays(state: TrainState, tmp_path: Path) -> None:
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, state, {"position": 1})
        checkpointer.save(1, state, {"position": 2})
        checkpointer.wait()
        assert checkpointer.restore(state).data_position == {"position": 1}


def test_what_does_not_fit_is_named(state: TrainState, tmp_path: Path) -> None:
    config = {"model": {"d_model": 16}, "steps": 10}
    with Checkpointer(tmp_path, config=config) as checkpointer:
        checkpointer.save(1, state, {})
        checkpointer.wait()
        with pytest.raises(UserError, match=r"no checkpoint of step 5, only of: 1"):
            checkpointer.restore(state, step=5)
        with pytest.raises(UserError, match=r"params/embedding has shape \(64, 16\), not \(72, 16\) and \d+ more"):
            checkpointer.restore(other_state(vocab_size=72))
        with pytest.raises(UserError, match="opt_state"):
            checkpointer.restore(other_state(optimizer="adafactor"))
        with pytest.raises(UserError, match="embedding has shape"):
            checkpointer.restore_params(other_state(vocab_size=72).params)
        assert checkpointer.config() == config


def test_the_configuration_is_kept_and_left_to_the_caller_to_judge(state: TrainState, tmp_path: Path) -> None:
    with Checkpointer(tmp_path, config={"seed": 0}) as checkpointer:
        checkpointer.save(1, state, {})
    with Checkpointer(tmp_path, config={"seed": 1, "newer": True}) as checkpointer:
        assert checkpointer.config() == {"seed": 0}
        assert int(checkpointer.restore(state).state.step) == int(state.step)


@pytest.mark.parametrize("option", [{"keep": 0}, {"period": 0}])
def test_keeping_nothing_is_refused(option: dict) -> None:
    with pytest.raises(UserError, match="at least 1"):
        CheckpointConfig(**option)


def test_a_part_is_read_by_pattern(state: TrainState, tmp_path: Path) -> None:
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, state, {})
        checkpointer.wait()
        other = other_state(d_ff=64).params  # its kernels of the MLP have other shapes
        flat = traverse_util.flatten_dict(state.params, sep="/")
        attention = [path for path in flat if "attention" in path]
        assert attention
        read = checkpointer.restore_params(other, matching=(".*/.*attention/.*",))
        found = traverse_util.flatten_dict(read, sep="/")
        assert sorted(found) == sorted(attention)
        for path in attention:
            np.testing.assert_array_equal(jax.device_get(found[path]), jax.device_get(flat[path]))
        with pytest.raises(UserError, match=r"'encodre/\.\*' matches no parameter of this model"):
            checkpointer.restore_params(other, matching=(".*/.*attention/.*", "encodre/.*"))
        with pytest.raises(UserError, match="has shape"):
            checkpointer.restore_params(other, matching=(".*/mlp/.*",))


def test_restore_in_another_type(state: TrainState, tmp_path: Path) -> None:
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16, sharding=leaf.sharding), other_state().params
    )
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, state, {})
        checkpointer.wait()
        read = checkpointer.restore_params(like)
    assert {leaf.dtype for leaf in jax.tree.leaves(read)} == {jnp.dtype(jnp.bfloat16)}
    jax.tree.map(
        lambda found, saved: np.testing.assert_array_equal(found, np.asarray(saved).astype(jnp.bfloat16)),
        jax.device_get(read),
        jax.device_get(state.params),
    )
