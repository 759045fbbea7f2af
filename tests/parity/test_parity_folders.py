"""Folders of transformers' ``save_pretrained`` in and out: the bytes of the files, and the logits of what is loaded."""

import json

import numpy as np
import pytest

from flan_jax.experiments.weights.export_hf import export_run
from flan_jax.experiments.weights.import_hf import import_folder
from flan_jax.models.huggingface import reader, writer
from flan_jax.models.huggingface.decoders import FAMILIES

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

torch = pytest.importorskip("torch")
load_file = pytest.importorskip("safetensors.torch").load_file
transformers = pytest.importorskip("transformers")

ENCODER_DECODERS = {
    "T5ForConditionalGeneration": [
        {"tie_word_embeddings": True, "feed_forward_proj": "relu", "num_decoder_layers": 2},
        {"tie_word_embeddings": False, "feed_forward_proj": "gated-gelu", "num_decoder_layers": 1},
    ],
    "MT5ForConditionalGeneration": [{"num_decoder_layers": 4}],
}
SIZES = {"vocab_size": 61, "d_model": 20, "d_kv": 6, "num_heads": 3, "d_ff": 28, "num_layers": 3}
DECODER_SIZES = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2,
    "head_dim": 4, "intermediate_size": 20, "max_position_embeddings": 64, "eos_token_id": 1, "bos_token_id": 2,
    "pad_token_id": 0,
}  # fmt: skip
GPT2_SIZES = {
    "vocab_size": 61,
    "n_embd": 24,
    "n_layer": 3,
    "n_head": 3,
    "n_positions": 64,
    "eos_token_id": 1,
    "bos_token_id": 2,
}
OF_ONE = {
    "Qwen3_5ForCausalLM": {
        "num_hidden_layers": 4, "head_dim": 8, "linear_num_key_heads": 1, "linear_num_value_heads": 2,
        "linear_key_head_dim": 3, "linear_value_head_dim": 5,
    },
    "Gemma4ForCausalLM": {"hidden_size_per_layer_input": 5, "vocab_size_per_layer_input": 61, "num_kv_shared_layers": 0},
}  # fmt: skip
SEVERAL_STACKS = ("Qwen3_5", "Gemma4")
"""Models with two kinds of layers, whose tensors are dealt to files in another order."""
CASES = [
    *((name, fields) for name, rows in ENCODER_DECODERS.items() for fields in rows),
    *((family.architecture, OF_ONE.get(family.architecture, {})) for family in FAMILIES.values()),
    ("LlamaForCausalLM", {"tie_word_embeddings": True, "attention_bias": True}),
]
SMALL = 6000  # bytes: several files of every model here, and tensors that need one alone


def make(name, fields):
    torch.manual_seed(0)
    sizes = SIZES if name in ENCODER_DECODERS else GPT2_SIZES if name.startswith("GPT2") else DECODER_SIZES
    if name.startswith("ModernBert"):
        sizes = {field: value for field, value in sizes.items() if field not in ("num_key_value_heads", "head_dim")}
    model_class = getattr(transformers, name)
    model = model_class(model_class.config_class(**{**sizes, **fields})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    if name in ENCODER_DECODERS and not fields.get("tie_word_embeddings", False):
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    return model


def logits_of(model):
    tokens = torch.from_numpy(np.random.default_rng(0).integers(3, 61, (2, 11)))
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            return model(input_ids=tokens, decoder_input_ids=tokens[:, :7]).logits
        return model(tokens).logits


def weights_in(path):
    return sorted(file.name for file in path.glob("*.safetensors"))


def same_tensors(ours, theirs):
    both = [
        {name: value for file in weights_in(path) for name, value in load_file(path / file).items()}
        for path in (ours, theirs)
    ]
    assert both[0].keys() == both[1].keys()
    for name, value in both[0].items():
        assert value.dtype == both[1][name].dtype
        assert torch.equal(value, both[1][name]), name


@pytest.mark.parametrize(("name", "fields"), CASES)
@pytest.mark.parametrize(("dtype", "shard"), [("float32", None), ("bfloat16", SMALL), ("float16", SMALL)])
def test_the_files_are_those_of_save_pretrained(name, fields, dtype, shard, tmp_path):
    model = make(name, fields).to(getattr(torch, dtype))
    limit = {} if shard is None else {"max_shard_size": shard}
    model.save_pretrained(tmp_path / "theirs", **limit)
    config, params = reader.load(tmp_path / "theirs")
    writer.save(tmp_path / "ours", config, params, dtype=dtype, max_shard_bytes=shard or writer.MAX_SHARD_BYTES)
    assert (len(weights_in(tmp_path / "ours")) > 2) is (shard is not None)
    if shard and name.startswith(SEVERAL_STACKS):
        same_tensors(tmp_path / "ours", tmp_path / "theirs")
    else:
        assert weights_in(tmp_path / "ours") == weights_in(tmp_path / "theirs")
        for file in weights_in(tmp_path / "theirs"):
            assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes(), file
    if shard and not name.startswith(SEVERAL_STACKS):
        ours, theirs = (json.loads((tmp_path / x / reader.INDEX).read_text()) for x in ("ours", "theirs"))
        assert ours == theirs
    again = getattr(transformers, "AutoModelForSeq2SeqLM" if name in ENCODER_DECODERS else "AutoModelForCausalLM")
    # A model that was rounded in memory has rounded its constants too, which one that is loaded has not.
    theirs, ours = (again.from_pretrained(tmp_path / name).eval() for name in ("theirs", "ours"))
    assert ours.dtype == theirs.dtype == model.dtype
    assert torch.equal(logits_of(ours), logits_of(theirs))


@pytest.mark.parametrize(("name", "fields"), [CASES[1], CASES[2], ("LlamaForCausalLM", {}), ("GPT2LMHeadModel", {})])
def test_in_and_out_by_the_commands(name, fields, tmp_path):
    model = make(name, fields)
    model.save_pretrained(tmp_path / "theirs", max_shard_size=SMALL)
    import_folder(tmp_path / "theirs", tmp_path / "imported")
    export_run(tmp_path / "imported", tmp_path / "ours", max_shard_bytes=SMALL)
    for file in weights_in(tmp_path / "theirs"):
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes(), file
    reloaded = type(model).from_pretrained(tmp_path / "ours").eval()
    assert torch.equal(logits_of(reloaded), logits_of(model))
    generation = transformers.GenerationConfig.from_pretrained(tmp_path / "ours")
    assert generation.eos_token_id == model.config.eos_token_id
