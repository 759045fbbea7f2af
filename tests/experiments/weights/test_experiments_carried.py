"""What a model does not use of its folder, a vision tower, goes in and out of imports and runs without a change of a byte."""

import json
import shutil

import jax
import numpy as np
import pytest

from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import EvalConfig
from flan_jax.experiments.train import train
from flan_jax.experiments.weights.export_hf import export_run
from flan_jax.experiments.weights.import_hf import import_folder
from flan_jax.models.decoder.mixed_config import MixedAttention
from flan_jax.models.huggingface import carried, reader, writer
from flan_jax.models.huggingface.safetensors_files import FileWriter, read_header
from flan_jax.models.peft.config import TuningConfig
from flan_jax.testing.models import random_params, tiny_decoder, tiny_t5gemma
from flan_jax.train.optimizer import OptimizerConfig

TOWER = {
    "model.encoder.vision_tower.embeddings.patch_embedding.weight": (6, 3, 2, 2),
    "model.encoder.multi_modal_projector.mm_input_projection_weight": (6, 12),
}
VISION = {"hidden_size": 6, "model_type": "siglip_vision_model"}
CONFIG = tiny_t5gemma(2, vocab_size=896, num_encoder_layers=1, num_decoder_layers=1)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The folder of a T5Gemma 2 with a tower, in 16 bits."""
    path = tmp_path_factory.mktemp("published") / "model"
    towers = path.parent / "tower.safetensors"
    file, rng = FileWriter(towers, TOWER, "BF16"), np.random.default_rng(0)
    for name, shape in TOWER.items():
        file.put(name, rng.normal(size=shape).astype(np.float32))
    file.finish()
    source = path.parent / "source"
    source.mkdir()
    carried.write(source / carried.CARRIED, read_header(towers))
    (source / "config.json").write_text(
        json.dumps({"model_type": "t5gemma2", "image_token_index": 8, "encoder": {"vision_config": VISION}})
    )
    writer.save(path, CONFIG, random_params(CONFIG), carried_from=source)
    return path


def tower_bytes(folder, names=tuple(TOWER)):
    tensors = reader.open_tensors(folder).tensors
    found = {}
    for name in names:
        tensor = tensors[name]
        with tensor.file.open("rb") as file:
            file.seek(tensor.start)
            found[name] = (tensor.dtype, tensor.shape, file.read(tensor.size))
    return found


def assert_carried(folder, published):
    assert tower_bytes(folder) == tower_bytes(published)
    fields = json.loads((folder / "config.json").read_text())
    assert fields["encoder"]["vision_config"] == VISION
    assert fields["image_token_index"] == 8


def test_in_and_out_again(published, tmp_path):
    found = import_folder(published, tmp_path / "imported")
    assert found.carried == len(TOWER)
    export_run(tmp_path / "imported", tmp_path / "out", dtype="bfloat16")
    assert_carried(tmp_path / "out", published)
    assert reader.load(tmp_path / "out")[0] == reader.read_config(published)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors")) == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    ]  # fmt: skip


def test_a_tuned_part_goes_out_with_the_tower(published, mini_store, tmp_path):
    """Packed rows, adapters, and the merged model behind them, from a folder that has gone by then."""
    config = RunConfig.from_options(
        model_dir=str(tmp_path / "run"), mixture="mini", lengths={"inputs": 64, "targets": 16}, model=CONFIG,
        initial_checkpoint=str(published), optimizer=OptimizerConfig(name="adamw", learning_rate=1e-2), steps=2,
        batch_size=8, log_period=1, store=str(mini_store), evaluation=EvalConfig(suites=()),
        tuning=TuningConfig(lora_rank=2, lora_alpha=4),
    )  # fmt: skip
    train(config)
    export_run(tmp_path / "run", tmp_path / "out")
    assert_carried(tmp_path / "out", published)
    (_, before), (_, after) = reader.load(published), reader.load(tmp_path / "out")
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after)
    assert changed["decoder"]["layers"]["attention"]["q"]
    assert changed["encoder"]["layers"]["attention"]["v"]
    assert not changed["encoder"]["layers"]["attention"]["k"]


def test_a_decoder_with_other_towers_goes_out_as_it_came_in(tmp_path):
    """A Gemma 4: towers for images and sound, and keys of layers that read those of others."""
    config = tiny_decoder(
        family="gemma4", num_layers=4, sliding_window=3, window_pattern=(True, False), norm_placement="both", qk_norm="head",
        query_scale=1.0, embed_scale=True, local_rope_theta=10.0, mlp_activation="gated-gelu_tanh", norm_epsilon=1e-6,
        tie_embeddings=True, bos_id=2, mixed=MixedAttention(6, 2, shared=2, per_layer_width=5),
    )  # fmt: skip
    others = {
        "model.vision_tower.patch.weight": (6, 3),
        "model.embed_audio.embedding_projection.weight": (20, 6),
        "model.language_model.layers.3.self_attn.k_proj.weight": (12, 20),
        "model.language_model.layers.2.self_attn.v_norm.weight": (4,),
    }
    file, rng = FileWriter(tmp_path / "others.safetensors", others, "BF16"), np.random.default_rng(0)
    for name, shape in others.items():
        file.put(name, rng.normal(size=shape).astype(np.float32))
    file.finish()
    source, published = tmp_path / "source", tmp_path / "published"
    source.mkdir()
    carried.write(source / carried.CARRIED, read_header(tmp_path / "others.safetensors"))
    said = {"vision_config": {"hidden_size": 6}, "audio_token_id": 9}
    (source / "config.json").write_text(json.dumps({"model_type": "gemma4", **said}))
    writer.save(published, config, random_params(config), carried_from=source)

    assert import_folder(published, tmp_path / "imported").carried == len(others)
    text = tmp_path / "text"  # as it is where somebody asks for the text alone
    shutil.copytree(published, text)
    fields = json.loads((published / "config.json").read_text())
    (text / "config.json").write_text(json.dumps(fields["text_config"]))
    said_of_text: list[str] = []
    alone = import_folder(text, tmp_path / "alone", log=said_of_text.append)
    assert (alone.carried, alone.left_out) == (0, len(others))
    assert any(f"leaving out {len(others)} tensors that the model does not use" in line for line in said_of_text)

    export_run(tmp_path / "imported", tmp_path / "out")
    first, last = (json.loads((folder / "config.json").read_text()) for folder in (published, tmp_path / "out"))
    assert {**last, "dtype": None, "torch_dtype": None} == {**first, "dtype": None, "torch_dtype": None}
    assert said.items() <= last.items()
    every = reader.open_tensors(published).tensors
    assert set(others) < set(every)
    assert tower_bytes(tmp_path / "out", every) == tower_bytes(published, every)
