"""PEFT's files without PEFT: there and back, and what is refused. The comparison with it is in tests/parity."""

import json

import jax
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.models.build import logical_axes
from flan_jax.models.decoder.mixed_config import MixedAttention
from flan_jax.models.huggingface import peft
from flan_jax.models.huggingface.safetensors_files import FileWriter
from flan_jax.models.peft.adapters import attach, join, merged_params, split
from flan_jax.models.peft.config import TuningConfig
from flan_jax.testing.models import random_params, tiny_decoder, tiny_t5

T5 = tiny_t5()
GPT2 = tiny_decoder(
    family="gpt2", norm="layer", position="learned", num_kv_heads=6, d_head=5, d_model=30, attention_bias=True,
    output_bias=True, mlp_bias=True, mlp_activation="gelu_tanh", tie_embeddings=True, norm_epsilon=1e-5,
)  # fmt: skip

GEMMA4 = tiny_decoder(
    family="gemma4_text", num_layers=4, sliding_window=3, window_pattern=(True, False), norm_placement="both", qk_norm="head",
    query_scale=1.0, embed_scale=True, local_rope_theta=10.0, mlp_activation="gated-gelu_tanh", norm_epsilon=1e-6,
    tie_embeddings=True, bos_id=2, mixed=MixedAttention(6, 2, shared=2, per_layer_width=5),
)  # fmt: skip
A_MODULE = {T5: "encoder.block.0.layer.0.SelfAttention.q", GPT2: "mlp.c_proj", GEMMA4: "per_layer_input_gate"}


def trained_of(config, tuning):
    trained = split(attach(random_params(config), logical_axes(config), tuning, jax.random.key(0)), tuning)[0]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), trained)


def write(folder, fields, tensors):
    folder.mkdir(exist_ok=True)
    (folder / peft.CONFIG).write_text(json.dumps(fields), encoding="utf-8")
    file = FileWriter(folder / peft.WEIGHTS, {name: value.shape for name, value in tensors.items()}, "F32")
    for name, value in tensors.items():
        file.put(name, value)
    file.finish()


LORA = TuningConfig(lora_rank=2, lora_patterns=("encoder/.*/q", "wi_0"))


@pytest.mark.parametrize("scaling", ["alpha/r", "alpha/sqrt(r)"])
@pytest.mark.parametrize(
    ("config", "patterns"), [(T5, ("encoder/.*/q", "wi_0")), (GPT2, ("q", "v", "wo")), (GEMMA4, ("q", "v", "gate"))]
)
def test_what_is_written_reads_as_the_same_model(config, patterns, scaling, tmp_path):
    tuning = TuningConfig(lora_rank=2, lora_patterns=patterns, lora_scaling=scaling)
    trained = trained_of(config, tuning)
    peft.save(tmp_path, config, tuning, trained, base="somewhere")
    again, found = peft.load(tmp_path, config)
    frozen = random_params(config)
    ours = merged_params(join(trained, split(frozen, tuning)[1], tuning))
    theirs = merged_params(join(found, split(frozen, again)[1], again))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-4), ours, theirs)
    if config is T5:  # as it went
        assert jax.tree.structure(found) == jax.tree.structure(trained)
        assert (again.lora_rank, again.scale) == (2, tuning.scale)
    fields = json.loads((tmp_path / peft.CONFIG).read_text(encoding="utf-8"))
    assert fields["base_model_name_or_path"] == "somewhere"
    assert any(name.endswith(A_MODULE[config]) for name in fields["target_modules"])


def test_a_prompt_there_and_back(tmp_path):
    tuning = TuningConfig(prompt_tokens=3)
    trained = trained_of(T5, tuning)
    peft.save(tmp_path, T5, tuning, trained)
    again, found = peft.load(tmp_path, T5)
    assert again == tuning
    np.testing.assert_array_equal(found["prompt"], trained["prompt"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "LOHA"}, "Unknown peft_type 'LOHA'"),
        ({"use_dora": True}, "use_dora=True has an effect that is not known here.*Merge it into its model"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "biases were trained as well"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the model below the adapter"),
        ({"lora_alpha": -1}, "lora_alpha is -1"),
    ],
)
def test_fields_that_are_refused(change, message, tmp_path):
    fields, tensors = peft.to_peft(T5, LORA, trained_of(T5, LORA))
    write(tmp_path, {**fields, **change}, tensors)
    with pytest.raises(UserError, match=message):
        peft.load(tmp_path, T5)


def test_tensors_that_are_refused(tmp_path):
    fields, tensors = peft.to_peft(T5, LORA, trained_of(T5, LORA))
    name = next(iter(tensors))
    lacking = {key: value for key, value in tensors.items() if key != name}
    cases = [
        ({}, "holds no adapter"),
        (lacking, "lacks lora_A"),
        ({**tensors, name: tensors[name][:, :3]}, r"has matrices of shape \(2, 3\)"),
        ({**tensors, name: tensors[name] * np.inf}, "infinite or not a number"),
        ({**tensors, "base_model.model.encoder.blok.0.x.lora_A.weight": tensors[name]}, "belongs to no kernel"),
        ({**tensors, "base_model.model.shared.lora_embedding_A": tensors[name]}, "belongs to no kernel"),
    ]
    for index, (these, message) in enumerate(cases):
        write(tmp_path / str(index), fields, these)
        with pytest.raises(UserError, match=message):
            peft.load(tmp_path / str(index), T5)


def test_folders_that_are_refused(tmp_path):
    with pytest.raises(UserError, match="is no PEFT folder: it has no adapter_config"):
        peft.load(tmp_path, T5)
    (tmp_path / peft.CONFIG).write_text("{", encoding="utf-8")
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"has no adapter_model\.safetensors, only adapter_model\.bin"):
        peft.load(tmp_path, T5)
    write(tmp_path, {}, {"a": np.zeros(1)})
    (tmp_path / peft.CONFIG).write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="is not JSON"):
        peft.load(tmp_path, T5)


def test_a_prompt_for_the_decoder_too_is_refused(tmp_path):
    tuning = TuningConfig(prompt_tokens=3)
    fields, tensors = peft.to_peft(T5, tuning, trained_of(T5, tuning))
    write(tmp_path, {**fields, "num_transformer_submodules": 2}, tensors)
    with pytest.raises(UserError, match="in front of the decoder as well"):
        peft.load(tmp_path, T5)
    write(tmp_path, {**fields, "num_virtual_tokens": 4}, tensors)
    with pytest.raises(UserError, match=r"has shape \(3, 16\), but \(4, 16\)"):
        peft.load(tmp_path, T5)


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        (TuningConfig(train=("scale",)), "scale' itself, which an adapter of PEFT cannot hold"),
        (TuningConfig(lora_rank=2, prompt_tokens=2), "both adapters and a prompt"),
    ],
)
def test_what_peft_cannot_hold_leaves_no_file(tuning, message, tmp_path):
    with pytest.raises(UserError, match=message):
        peft.save(tmp_path / "out", T5, tuning, trained_of(T5, tuning))
    assert not (tmp_path / "out").exists()


def test_a_model_that_looks_every_token_up_takes_no_prompt():
    with pytest.raises(UserError, match=r"vectors in front of a row are no tokens\. Train adapters"):
        TuningConfig(prompt_tokens=2).check(logical_axes(GEMMA4))
