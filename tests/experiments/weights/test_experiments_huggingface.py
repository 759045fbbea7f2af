"""Hugging Face folders in and out of runs: import, training from there, export, model card, and what is refused."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import EvalConfig
from flan_jax.experiments.run_folder.run_files import read_manifest
from flan_jax.experiments.train import train
from flan_jax.experiments.weights import export_hf, import_hf
from flan_jax.experiments.weights.base_check import model_of
from flan_jax.experiments.weights.export_hf import export_run
from flan_jax.experiments.weights.import_hf import import_folder
from flan_jax.experiments.weights.initial import initial_params, load_weights
from flan_jax.models.huggingface import reader, writer
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.models.t5.config import T5Config
from flan_jax.testing.folders import chat_model
from flan_jax.testing.models import random_params, tiny_decoder, tiny_t5
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import MeshConfig

DEVICES = 2  # of a run that names no mesh: those of test_experiments_train, whose step this is
T5 = tiny_t5()
LLAMA = tiny_decoder()


def assert_equal(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), a, b)


def saved(path, config=T5, **options):
    writer.save(path, config, random_params(config), **options)
    return path


def run_config(path, **changes):
    values = {
        "model_dir": str(path), "mixture": "mini", "lengths": {"inputs": 64, "targets": 16},
        "model": T5Config(
            vocab_size=896, d_model=16, d_kv=4, num_heads=2, d_ff=16, num_encoder_layers=1, num_decoder_layers=1,
            dropout_rate=0.1,
        ),
        "optimizer": OptimizerConfig(name="adamw", learning_rate=1e-3), "steps": 2, "batch_size": 8, "log_period": 1,
        "store": str(STORE), "evaluation": EvalConfig(suites=()),
    }  # fmt: skip
    return RunConfig.from_options(**{**values, **changes})


STORE = Path()


@pytest.fixture(scope="module", autouse=True)
def store(mini_store):
    global STORE
    STORE = mini_store


@pytest.fixture(scope="module")
def run(tmp_path_factory, store):
    """A run that started from an imported model, with results."""
    path = tmp_path_factory.mktemp("runs")
    measured = EvalConfig(suites=("held_out",), max_examples=2)
    config = run_config(path / "run", initial_checkpoint=str(path / "imported"), evaluation=measured)
    saved(path / "published", config.model)
    import_folder(path / "published", path / "imported")
    train(config)
    return config


@pytest.mark.parametrize(
    ("config", "compared", "dtype"),
    [
        pytest.param(T5, "logits", "bfloat16", id="t5-run"),
        pytest.param(LLAMA, "logits", "float32", id="llama-run"),
        pytest.param(T5, "tensors", "float32", id="t5-compared"),
        pytest.param(LLAMA, "tensors", "bfloat16", id="llama-compared"),
    ],
)
def test_in_and_out_again_gives_the_same_files(config, compared, dtype, tmp_path, monkeypatch):
    if compared == "tensors":
        monkeypatch.setattr(import_hf, "CHECK_LOGITS_UP_TO", 0)
        monkeypatch.setattr(export_hf, "CHECK_LOGITS_UP_TO", 0)
    saved(tmp_path / "source", config, dtype=dtype, max_shard_bytes=20_000)
    done = import_folder(tmp_path / "source", tmp_path / "imported")
    assert (done.checked, done.largest_difference) == (compared, 0.0)
    assert done.parameters == sum(leaf.size for leaf in jax.tree.leaves(random_params(config)))
    out = export_run(tmp_path / "imported", tmp_path / "out", dtype=dtype, max_shard_bytes=20_000)
    assert (out.checked, out.largest_difference, out.step) == (compared, 0.0, 0)
    weights = sorted(path.name for path in (tmp_path / "source").glob("*.safetensors*"))
    assert len(weights) > 2
    for name in weights:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "source" / name).read_bytes()
    assert reader.read_config(tmp_path / "out") == reader.read_config(tmp_path / "source")


def test_what_is_kept_beside_the_weights(tmp_path):
    chat_model(tmp_path / "source", d_model=24)
    (tmp_path / "source" / "generation_config.json").write_text('{"eos_token_id": [2, 3]}')
    (tmp_path / "source" / "LICENSE").write_text("free")
    (tmp_path / "source" / "pytorch_model.bin").write_bytes(b"\x80")
    done = import_folder(tmp_path / "source", tmp_path / "imported")
    for name in ("config.json", "generation_config.json", "tokenizer.json", "LICENSE"):
        assert name in done.kept
        assert (tmp_path / "imported" / name).read_bytes() == (tmp_path / "source" / name).read_bytes()
    assert not [path for path in (tmp_path / "imported").iterdir() if path.suffix in (".bin", ".safetensors")]
    assert load_vocabulary(tmp_path / "imported").fingerprint() == load_vocabulary(tmp_path / "source").fingerprint()
    origin = json.loads((tmp_path / "imported" / "import.json").read_text())
    assert (origin["source"], origin["model_type"]) == (str(tmp_path / "source"), "llama")
    out = export_run(tmp_path / "imported", tmp_path / "out")
    assert "tokenizer.json" in out.tokenizer
    assert (tmp_path / "out" / "generation_config.json").read_text() == '{"eos_token_id": [2, 3]}'
    assert "AutoTokenizer" in (tmp_path / "out" / "README.md").read_text()


def test_a_tokenizer_that_the_embedding_has_no_room_for(tmp_path):
    chat_model(tmp_path / "source", vocab_size=64)
    with pytest.raises(UserError, match=r"has \d+ tokens, but the model's embedding has 64 rows"):
        import_folder(tmp_path / "source", tmp_path / "imported")
    assert not (tmp_path / "imported").exists()


def test_weights_that_are_no_numbers(tmp_path):
    params = random_params(T5)
    params["embedding"][0, 0] = np.nan
    writer.save(tmp_path / "source", T5, params)
    with pytest.raises(UserError, match=r"'shared\.weight' holds 1 value .* --allow_nonfinite"):
        import_folder(tmp_path / "source", tmp_path / "imported")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    done = import_folder(tmp_path / "source", tmp_path / "imported", allow_nonfinite=True)
    assert (done.checked, done.largest_difference) == ("tensors", 0.0)


def test_what_was_written_is_compared(tmp_path, monkeypatch):
    saved(tmp_path / "source")
    real = import_hf.StoredParams.read
    monkeypatch.setattr(import_hf.StoredParams, "read", lambda self, *place: real(self, *place) * 1.001)
    with pytest.raises(RuntimeError, match="differs from its source"):
        import_folder(tmp_path / "source", tmp_path / "imported")
    monkeypatch.setattr(import_hf, "CHECK_LOGITS_UP_TO", 0)
    with pytest.raises(RuntimeError, match="differs from its source"):
        import_folder(tmp_path / "source", tmp_path / "imported")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_that_is_there_is_not_written_into(tmp_path):
    saved(tmp_path / "source")
    (tmp_path / "empty").mkdir()
    import_folder(tmp_path / "source", tmp_path / "empty")
    for destination in ("source", "empty", "source/config.json"):
        with pytest.raises(UserError, match=r"exists\. Name a folder that does not"):
            import_folder(tmp_path / "source", tmp_path / destination)
        with pytest.raises(UserError, match=r"exists\. Name a folder that does not"):
            export_run(tmp_path / "empty", tmp_path / destination)
    with pytest.raises(UserError, match="cannot be made in"):
        import_folder(tmp_path / "source", tmp_path / "source" / "config.json" / "x")
    with pytest.raises(UserError, match="There is no folder"):
        import_folder(tmp_path / "nothing", tmp_path / "new")
    with pytest.raises(UserError, match="has no folder `checkpoints`"):
        export_run(tmp_path / "source", tmp_path / "new")


@pytest.mark.parametrize(("mesh", "devices"), [(MeshConfig(), 2), (MeshConfig(data=2, fsdp=2, tensor=2), 8)])
def test_weights_are_placed_where_training_wants_them(mesh, devices, tmp_path):
    config = tiny_t5(vocab_size=64, d_kv=4, num_heads=4, d_ff=32)
    saved(tmp_path / "source", config, dtype="bfloat16")
    import_folder(tmp_path / "source", tmp_path / "imported")
    one, other = (
        initial_params(run_config(tmp_path / "run", model=config, mesh=mesh, initial_checkpoint=str(tmp_path / name)))
        for name in ("source", "imported")
    )
    assert_equal(one, reader.load(tmp_path / "source")[1])
    assert_equal(one, other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.sharding == b.sharding
    assert len(one["encoder"]["layers"]["mlp"]["wo"].sharding.device_set) == devices


def test_a_model_that_computes_something_else_in_the_same_shapes(tmp_path):
    config = tiny_t5(mlp_activation="gated-silu")
    saved(tmp_path / "source", config)
    with pytest.raises(UserError, match="mlp_activation='gated-silu', and the configured model has 'gated-gelu_tanh'"):
        initial_params(run_config(tmp_path / "run", model=T5, initial_checkpoint=str(tmp_path / "source")))


def test_the_first_weights_must_be_somewhere(tmp_path):
    with pytest.raises(UserError, match="INITIAL_CHECKPOINT_PATH: There is no folder"):
        initial_params(run_config(tmp_path / "run", initial_checkpoint=str(tmp_path / "none")))
    with pytest.raises(UserError, match="holds neither a folder `checkpoints` nor"):
        initial_params(run_config(tmp_path / "run", initial_checkpoint=str(tmp_path)))


def test_a_run_says_where_it_started(run):
    started = read_manifest(Path(run.model_dir))["started_from"]
    assert started["folder"] == run.initial_checkpoint
    assert started["source"].endswith("published")
    assert "jax" in started["versions"]


def test_a_run_is_exported_with_a_card(run, tmp_path):
    done = export_run(run.model_dir, tmp_path / "out", dtype="bfloat16")
    assert (done.step, done.model_type, done.tokenizer) == (2, "t5", ())
    ours = jax.tree.map(lambda x: np.asarray(jax.numpy.asarray(x, "bfloat16"), np.float32), load_weights(run).params)
    config, params = reader.load(tmp_path / "out")
    assert config == run.model
    assert_equal(params, ours)
    card = (tmp_path / "out" / "README.md").read_text()
    manifest = read_manifest(Path(run.model_dir))
    for expected in (
        "trained for 2 steps on the mixture `mini`", "Held out, and not trained on: ", "## Results", "### held_out",
        "AutoModelForSeq2SeqLM", f"| jax | {manifest['versions']['jax']} |",
    ):  # fmt: skip
        assert expected in card
    for name, task in manifest["tasks"].items():
        assert f"| {name} | {task['cluster']} | {task['weight']:.4%} | {task['examples']:,} |" in card
    assert str(tmp_path) not in card
    assert str(Path(run.model_dir).parent) not in card
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert generation["decoder_start_token_id"] == 0
    with pytest.raises(UserError, match="no checkpoint of step 1, only of: 2"):
        export_run(run.model_dir, tmp_path / "other", step=1)
    with pytest.raises(UserError, match="Unknown dtype 'bf16'"):
        export_run(run.model_dir, tmp_path / "other", dtype="bf16")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_exported_run_is_one_to_start_from(run, tmp_path):
    export_run(run.model_dir, tmp_path / "out")
    again = run_config(tmp_path / "again", initial_checkpoint=str(tmp_path / "out"))
    assert_equal(initial_params(again), load_weights(run).params)


def test_a_model_comes_back_from_what_a_run_writes_of_it():
    scaled = RopeScaling("linear", factor=2.0)
    for config in (T5, LLAMA, tiny_decoder(rope_scaling=scaled, sliding_window=4, window_pattern=(True, False))):
        written = json.loads(json.dumps(run_config("x", model=config).identity()))["model"]
        assert model_of(written) == config
    with pytest.raises(UserError, match="has 'warp', which this version does not know"):
        model_of({**written, "warp": 1})
