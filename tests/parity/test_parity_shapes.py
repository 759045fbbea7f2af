"""Every shape that is exported is one that transformers loads and computes alike; the others are refused before."""

import dataclasses

import numpy as np
import pytest
from compiled import apply

from flan_jax.errors import UserError
from flan_jax.models import build
from flan_jax.models.decoder_presets import preset
from flan_jax.models.huggingface import reader, writer
from flan_jax.testing.models import random_params

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

KINDS = {
    "llama": "llama3_2_1b", "mistral": "mistral_7b_v0_1", "qwen2": "qwen2_5_0_5b", "qwen3": "qwen3_0_6b",
    "gemma": "gemma_2b", "gemma2": "gemma2_2b", "gemma3_text": "gemma3_1b", "olmo2": "olmo2_1b", "gpt2": "gpt2_small",
}  # fmt: skip
SHAPES = {
    "even": {},
    "a width that is no multiple of the heads": {"num_heads": 3, "num_kv_heads": 3},
    "wide heads": {"d_head": 16},
    "one key head": {"num_kv_heads": 1},
}
REFUSED = {
    ("gemma2", "a width that is no multiple of the heads"), ("gemma3_text", "a width that is no multiple of the heads"),
    *(("gpt2", shape) for shape in SHAPES if shape != "even"),
}  # fmt: skip
WRITTEN_AS = {("llama", "a width that is no multiple of the heads"): "mistral"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_exported_is_loaded(kind, shape, tmp_path):
    published = preset(KINDS[kind])
    sizes = {
        "vocab_size": 64, "d_model": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 4, "d_head": 8, "d_ff": 48,
        "max_positions": 64, "eos_id": 1, "bos_id": None, "pad_id": 0, "remat": "none",
        "sliding_window": 8 if published.sliding_window else None, **SHAPES[shape],
    }  # fmt: skip
    config = dataclasses.replace(published, **sizes)
    params = random_params(config)
    if (kind, shape) in REFUSED:
        with pytest.raises(UserError, match=r"is no .* of transformers"):
            writer.save(tmp_path / "out", config, params)
        assert not (tmp_path / "out").exists()
        return
    writer.save(tmp_path / "out", config, params)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.config.model_type == WRITTEN_AS.get((kind, shape), kind)
    tokens = np.array([[5, 9, 33, 7, 21, 8, 2, 40, 11, 12, 13, 14]])
    with torch.no_grad():
        expected = model(torch.tensor(tokens)).logits.numpy()
    for own, weights in ((config, params), reader.load(tmp_path / "out")):
        graphdef, _ = build.abstract_model(own)
        found = apply(graphdef, weights, {"decoder_input_tokens": tokens})
        np.testing.assert_allclose(np.asarray(found), expected, atol=2e-4)
