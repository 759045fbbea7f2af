"""Runs that train a part: what they leave behind, what they stand on, and that they are measured whole."""

import dataclasses
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.generate import Answerer
from flan_jax.experiments.options import CheckpointConfig, EvalConfig
from flan_jax.experiments.train import train
from flan_jax.experiments.weights import initial as weights_module
from flan_jax.experiments.weights.export_adapter import published_base
from flan_jax.experiments.weights.export_hf import export_run, export_run_adapter
from flan_jax.experiments.weights.frozen_base import fingerprint
from flan_jax.experiments.weights.initial import base_params, load_weights
from flan_jax.models.build import logical_axes
from flan_jax.models.huggingface import peft, reader
from flan_jax.models.ops.quantized import QUANTIZED
from flan_jax.models.peft.adapters import join, merged_params, split
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.peft.storage import cast_params
from flan_jax.models.t5.config import T5Config
from flan_jax.testing.models import random_params
from flan_jax.train.checkpoint_stream import Piece, save_pieces
from flan_jax.train.optimizer import OptimizerConfig, make_optimizer
from flan_jax.train.sharding import make_partitioner
from flan_jax.train.state import init_state

MODEL = T5Config(
    vocab_size=896, d_model=16, d_kv=4, num_heads=2, d_ff=16, num_encoder_layers=1, num_decoder_layers=1,
    dropout_rate=0.0,
)  # fmt: skip
LORA = TuningConfig(lora_rank=2, lora_alpha=4)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def make(store):
    def config(reader, tuning=LORA, **changes) -> RunConfig:
        values = {
            "model_dir": str(reader),
            "mixture": "word_category",
            "vocabulary": "bytes",
            "lengths": {"inputs": 64, "targets": 16},
            "model": MODEL,
            "optimizer": OptimizerConfig(name="adamw", learning_rate=1e-2),
            "steps": 4,
            "batch_size": 8,
            "log_period": 1,
            "store": str(store),
            "tuning": tuning,
            "pack": not tuning.prompt_tokens,
            "checkpoint": CheckpointConfig(period=2, keep=1),
            "evaluation": EvalConfig(suites=()),
        }
        return RunConfig.from_options(**{**values, **changes})

    return config


@pytest.fixture(scope="module")
def base(make, tmp_path_factory):
    """A plain run, to begin from."""
    config = make(tmp_path_factory.mktemp("base") / "run", TuningConfig(), steps=2)
    train(config)
    return config


def losses(config):
    with open(f"{config.model_dir}/metrics.jsonl", encoding="utf-8") as lines:
        return [json.loads(line)["loss"] for line in lines]


def leaves_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(left), jax.device_get(right))


def test_adapters_on_top_of_a_run(make, base, tmp_path):
    straight = make(tmp_path / "a", initial_checkpoint=base.model_dir)
    broken = straight.with_options(model_dir=str(tmp_path / "b"))
    train(straight)
    train(broken.with_options(steps=2))
    train(broken)
    assert losses(broken) == losses(straight)
    whole = load_weights(straight).params
    leaves_equal(whole, load_weights(broken).params)
    frozen = split(whole, LORA)[1]
    plain = load_weights(base).params
    leaves_equal(frozen, split(plain, LORA)[1])
    ours, theirs = (tree["encoder"]["layers"]["attention"]["q"] for tree in (merged_params(whole), plain))
    assert not np.array_equal(ours, theirs)
    info = (tmp_path / "a" / "model-info.txt").read_text(encoding="utf-8")
    # q and v of three attentions: 2 * (16 * 2 + 2 * 8) numbers each
    assert "Trained of them: 288 (" in info
    assert "  frozen\n" in info
    saved = json.loads((tmp_path / "a" / "manifest.json").read_text(encoding="utf-8"))["config"]["tuning"]
    assert TuningConfig(**saved) == LORA

    # Another run begins from the tuned one, which lends it its sum.
    next_run = make(tmp_path / "c", TuningConfig(), initial_checkpoint=straight.model_dir)
    loaded = load_weights(next_run)
    assert loaded.step == 0
    leaves_equal(loaded.params, merged_params(whole))

    # It is exported as one model, or as what PEFT loads on top of the base.
    done = export_run(straight.model_dir, tmp_path / "merged")
    assert done.largest_difference == 0
    leaves_equal(reader.load(tmp_path / "merged")[1], merged_params(whole))
    adapter = export_run_adapter(straight.model_dir, tmp_path / "adapter")
    assert (adapter.kind, adapter.parameters, adapter.base) == ("LORA", 288, base.model_dir)
    assert (adapter.loads_on, f"flan-jax export-hf {base.model_dir} BASE" in adapter.advice) == ("", True)
    tuning, trained = peft.load(tmp_path / "adapter", MODEL)
    theirs = merged_params(join(trained, split(plain, tuning)[1], tuning))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), theirs, merged_params(whole))
    loaded = load_weights(
        make(
            tmp_path / "d", TuningConfig(), initial_checkpoint=base.model_dir, initial_adapter=str(tmp_path / "adapter")
        )
    )
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6),
        loaded.params,
        merged_params(whole),
    )
    half = TuningConfig(train=("scale",), frozen_dtype="bfloat16")
    rounded = load_weights(
        make(tmp_path / "e", half, initial_checkpoint=base.model_dir, initial_adapter=str(tmp_path / "adapter"))
    ).params["encoder"]["layers"]["attention"]
    assert (rounded["q"].dtype, rounded["norm"]["scale"].dtype) == (jnp.bfloat16, jnp.float32)
    exact = merged_params(whole)["encoder"]["layers"]["attention"]["q"]
    np.testing.assert_allclose(rounded["q"].astype(jnp.float32), exact, rtol=2**-7, atol=1e-3)
    with pytest.raises(UserError, match="trained neither adapters nor a prompt"):
        export_run_adapter(base.model_dir, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_base_in_16_bits(make, base, tmp_path, monkeypatch):
    export_run(base.model_dir, tmp_path / "published")
    half = dataclasses.replace(LORA, frozen_dtype="bfloat16")
    straight = make(tmp_path / "a", half, initial_checkpoint=str(tmp_path / "published"))
    sent = []
    real = weights_module.place
    monkeypatch.setattr(weights_module, "place", lambda values, to: sent.append(values) or real(values, to))
    loaded = load_weights(straight).params
    # Nothing that is kept in 16 bits went to a device in 32.
    assert sorted(str(leaf.dtype) for leaf in jax.tree.leaves(loaded)) == sorted(str(values.dtype) for values in sent)
    leaves_equal(load_weights(make(tmp_path / "new", half, initial_checkpoint=base.model_dir)).params, loaded)
    train(straight)
    broken = straight.with_options(model_dir=str(tmp_path / "b"))
    train(broken.with_options(steps=2))
    train(broken)
    assert losses(broken) == losses(straight)
    trained, frozen = split(load_weights(straight).params, half)
    leaves_equal(frozen, split(loaded, half)[1])
    assert frozen["embedding"].dtype == frozen["encoder"]["layers"]["attention"]["q"].dtype == jnp.bfloat16
    assert "bfloat16" in (tmp_path / "a" / "model-info.txt").read_text(encoding="utf-8")

    # What is exported stands on the numbers of the base itself, and so does a run that begins from this one.
    plain = load_weights(base).params
    export_run(straight.model_dir, tmp_path / "merged")
    merged = merged_params(join(trained, split(plain, LORA)[1], LORA))
    leaves_equal(reader.load(tmp_path / "merged")[1], merged)
    leaves_equal(
        load_weights(make(tmp_path / "c", TuningConfig(), initial_checkpoint=straight.model_dir)).params, merged
    )
    # Another type is another run.
    with pytest.raises(UserError, match=r"frozen_dtype: 'bfloat16' → 'float32'"):
        train(straight.with_options(tuning=LORA))


def test_a_quantized_base(make, base, tmp_path):
    export_run(base.model_dir, tmp_path / "published")
    few = dataclasses.replace(LORA, frozen_dtype="nf4")
    straight = make(tmp_path / "a", few, initial_checkpoint=str(tmp_path / "published"))
    loaded = load_weights(straight).params
    # The same codes whether the base comes from transformers' files or from a run's checkpoint.
    leaves_equal(load_weights(make(tmp_path / "new", few, initial_checkpoint=base.model_dir)).params, loaded)
    q = loaded["encoder"]["layers"]["attention"]["q"]
    assert (q.format, q.codes.dtype, loaded["embedding"].dtype) == ("nf4", np.uint8, jnp.bfloat16)
    train(straight)
    broken = straight.with_options(model_dir=str(tmp_path / "b"))
    train(broken.with_options(steps=2))
    train(broken)
    assert losses(broken) == losses(straight)
    whole = load_weights(straight).params
    trained, frozen = split(whole, few)
    leaves_equal(frozen, split(loaded, few)[1])
    leaves_equal(whole, load_weights(broken).params)
    info = (tmp_path / "a" / "model-info.txt").read_text(encoding="utf-8")
    assert re.search(r"^encoder/layers/attention/k +\(1, 16, 8\) +nf4 +128  frozen$", info, re.M)
    assert "Trained of them: 288 (" in info
    # The checkpoint has the adapters alone, and is answered with.
    saved = sum(path.stat().st_size for path in (tmp_path / "a" / "checkpoints" / "4").rglob("*") if path.is_file())
    assert saved < sum(path.stat().st_size for path in (tmp_path / "published").glob("*.safetensors"))
    assert isinstance(Answerer(straight, max_tokens=3).answer("Is it good?"), str)

    # What is exported stands on the numbers of the base itself.
    export_run(straight.model_dir, tmp_path / "merged")
    merged = merged_params(join(trained, split(load_weights(base).params, LORA)[1], LORA))
    leaves_equal(reader.load(tmp_path / "merged")[1], merged)
    # A quantized run that begins from a tuned one quantizes the sum, and from an adapter likewise.
    onwards = load_weights(make(tmp_path / "c", few, initial_checkpoint=straight.model_dir)).params
    leaves_equal(onwards, cast_params(merged, logical_axes(MODEL), few))
    with pytest.raises(UserError, match=r"frozen_dtype: 'nf4' → 'float32'"):
        train(straight.with_options(tuning=LORA))
    other = dataclasses.replace(MODEL, d_ff=32)
    with pytest.raises(UserError, match="d_ff"):
        load_weights(make(tmp_path / "d", few, model=other, initial_checkpoint=base.model_dir))


@pytest.mark.parametrize("frozen_dtype", QUANTIZED)
def test_a_base_saved_layer_by_layer_is_quantized_in_its_order(make, tmp_path, frozen_dtype):
    """As ``import-hf`` saves it: a chunk is a layer."""
    deep = dataclasses.replace(MODEL, num_encoder_layers=3, num_decoder_layers=2)
    params = random_params(deep)
    flat = traverse_util.flatten_dict(params)
    pieces = [
        Piece(path, layer, values)
        for path, leaf in flat.items()
        for layer, values in (enumerate(leaf) if "layers" in path else [(None, leaf)])
    ]
    save_pieces(tmp_path / "base" / "checkpoints", {path: leaf.shape for path, leaf in flat.items()}, pieces)
    few = dataclasses.replace(LORA, frozen_dtype=frozen_dtype)
    config = make(tmp_path / "run", few, model=deep, initial_checkpoint=str(tmp_path / "base"))
    leaves_equal(base_params(config), cast_params(jax.tree.map(jnp.asarray, params), logical_axes(deep), few))


def test_some_parameters_of_a_base(make, base, tmp_path):
    some, deeper = ("encoder/.*", "lm_head"), dataclasses.replace(MODEL, num_decoder_layers=2)
    of_run = make(
        tmp_path / "a", TuningConfig(), model=deeper, initial_checkpoint=base.model_dir, initial_parameters=some, seed=3
    )
    export_run(base.model_dir, tmp_path / "published")
    published = of_run.with_options(initial_checkpoint=str(tmp_path / "published"))
    theirs = load_weights(base).params
    drawn = base_params(of_run.with_options(initial_checkpoint="", initial_parameters=()))
    for config in (of_run, published):
        loaded = load_weights(config).params
        leaves_equal(loaded["encoder"], theirs["encoder"])
        leaves_equal(loaded["lm_head"], theirs["lm_head"])
        leaves_equal({**loaded, "encoder": 0, "lm_head": 0}, {**drawn, "encoder": 0, "lm_head": 0})
    few = TuningConfig(freeze=("encoder/.*",), frozen_dtype="int8")
    frozen = published.with_options(tuning=few, model_dir=str(tmp_path / "b"), steps=2)
    lines = []
    train(frozen, log=lines.append)
    assert any(
        line.startswith("12 of 29 ") and line.endswith("the others begin as seed 3 draws them") for line in lines
    ), lines
    # What is frozen is taken again, and what was trained is the checkpoint's.
    whole = load_weights(frozen).params
    leaves_equal(whole["encoder"], cast_params(theirs, logical_axes(MODEL), few)["encoder"])
    assert not np.array_equal(whole["lm_head"], theirs["lm_head"])
    with pytest.raises(UserError, match="another run"):
        train(frozen.with_options(initial_parameters=("encoder/.*",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"initial_parameters": ("encodre/.*",)},
            "INITIAL_PARAMETERS.*'encodre/.*' matches no parameter of this model",
        ),
        ({"initial_parameters": ("decoder/.*",)}, "decoder/layers/.* has shape .1, .* not .2, "),
        ({"initial_parameters": ("(",)}, "'.' is no regular expression"),
        (
            {"initial_parameters": ("q",), "initial_checkpoint": ""},
            "INITIAL_CHECKPOINT_PATH names no weights to take them",
        ),
        (
            {"initial_parameters": ("q",), "initial_adapter": "x"},
            "INITIAL_ADAPTER 'x' was trained on top of a whole model",
        ),
    ],
)
def test_some_parameters_that_cannot_be_taken(make, base, tmp_path, changes, message):
    deeper = dataclasses.replace(MODEL, num_decoder_layers=2)
    options = {"model": deeper, "initial_checkpoint": base.model_dir, **changes}
    with pytest.raises(UserError, match=message):
        train(make(tmp_path / "run", TuningConfig(), **options))
    assert not (tmp_path / "run").exists()


def test_a_base_that_changed_is_refused(make, base, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(base.model_dir, copy)
    config = make(tmp_path / "run", initial_checkpoint=str(copy), steps=2)
    train(config)
    load_weights(config)
    # Trained one step further, the base is another.
    train(base.with_options(model_dir=str(copy), steps=3))
    for refused in (lambda: load_weights(config), lambda: train(config.with_options(steps=4))):
        with pytest.raises(
            UserError, match=r"trained a part of the model in '.*copy', whose weights have changed since"
        ):
            refused()
    with pytest.raises(UserError, match="initial_checkpoint"):
        train(config.with_options(initial_checkpoint=base.model_dir, steps=4))


def test_the_seed_may_be_the_base(make, tmp_path):
    config = make(tmp_path / "run", TuningConfig(train=("scale",)), steps=2)
    train(config)
    weights = load_weights(config).params
    loaded = init_state(MODEL, make_optimizer(config.optimizer, logical_axes(MODEL)), config.seed, make_partitioner())[
        1
    ].params
    leaves_equal(split(weights, config.tuning)[1], split(loaded, config.tuning)[1])
    half = dataclasses.replace(config.tuning, frozen_dtype="bfloat16")
    rounded = split(base_params(config.with_options(tuning=half)), half)[1]
    leaves_equal(rounded["embedding"], loaded["embedding"].astype(jnp.bfloat16))


def test_a_prompt_is_trained_measured_and_read_when_asked(make, base, tmp_path):
    tuning = TuningConfig(prompt_tokens=3)
    config = make(tmp_path / "run", tuning, initial_checkpoint=base.model_dir, steps=2)
    train(config)
    weights = load_weights(config)
    assert weights.params["prompt"].shape == (3, 16)
    leaves_equal({**weights.params, "prompt": 0}, {**load_weights(base).params, "prompt": 0})
    assert isinstance(Answerer(config, max_tokens=3).answer("Is it good?"), str)
    with pytest.raises(UserError, match="A trained prompt cannot be merged"):
        export_run(config.model_dir, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    assert export_run_adapter(config.model_dir, tmp_path / "prompt").kind == "PROMPT_TUNING"
    beside = make(
        tmp_path / "beside", TuningConfig(), initial_checkpoint=base.model_dir, initial_adapter=str(tmp_path / "prompt")
    )
    np.testing.assert_array_equal(load_weights(beside).params["prompt"], weights.params["prompt"])
    onwards = make(tmp_path / "on", TuningConfig(), initial_checkpoint=config.model_dir)
    with pytest.raises(UserError, match="prompt"):
        train(onwards)
    assert not (tmp_path / "on").exists()


def test_an_adapter_needs_its_model(make, tmp_path):
    with pytest.raises(UserError, match="Name that model too: INITIAL_CHECKPOINT_PATH"):
        make(tmp_path, TuningConfig(), initial_adapter="somewhere")


def test_a_prompt_needs_rows_of_its_own(make, tmp_path):
    with pytest.raises(UserError, match=r"prompt_tokens=3 .* Set run.pack=False"):
        make(tmp_path, TuningConfig(prompt_tokens=3), pack=True)


def test_a_pattern_that_fits_nothing_leaves_no_folder(make, tmp_path):
    with pytest.raises(UserError, match="'query' matches no kernel"):
        train(make(tmp_path / "run", TuningConfig(lora_rank=2, lora_patterns=("query",))))
    assert not (tmp_path / "run").exists()


def test_fingerprints_tell_weights_apart(tmp_path):
    values = np.random.default_rng(0).bytes(1 << 20)
    (tmp_path / "model.safetensors").write_bytes(values)
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(bytes(byte ^ 1 for byte in values))
    assert fingerprint(tmp_path) != first
    (tmp_path / "model.safetensors").write_bytes(values + b"0")
    assert fingerprint(tmp_path) != first


def test_an_exported_adapter_names_a_base_that_transformers_can_load(tmp_path):
    imported = tmp_path / "imported"
    imported.mkdir()
    (imported / "import.json").write_text('{"source": "hf:some/model@main"}', encoding="utf-8")
    assert published_base(str(imported)) == (
        "some/model",
        f"Load it on some/model, from which {str(imported)!r} was imported.",
    )
    assert published_base("hf:google/flan-t5-small")[0] == "google/flan-t5-small"
    (tmp_path / "plain").mkdir()
    assert published_base(str(tmp_path / "plain"))[0] == str(tmp_path / "plain")
    for nowhere in (("",), (str(tmp_path / "plain"), "an adapter")):
        name, advice = published_base(*nowhere)
        assert (name, "without --adapter" in advice) == ("", True)
