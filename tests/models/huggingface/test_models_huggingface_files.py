"""Files of weights: the bytes of safetensors' own writer, shards, types, and what is wrong with a file."""

import json
import re
import struct

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.flax import save_file as save_flax
from safetensors.numpy import load_file, save_file

from flan_jax.errors import UserError
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface import decoders, families, reader, t5, t5gemma, writer
from flan_jax.models.huggingface.relatives import RELATIVES
from flan_jax.models.huggingface.safetensors_files import FileWriter, read_header, shards
from flan_jax.models.huggingface.tensors import places, shapes_of, tensors_from_params
from flan_jax.testing.models import random_params, tiny_decoder, tiny_t5

T5 = tiny_t5(d_model=12, num_encoder_layers=1, num_decoder_layers=2)
# Queries, keys and values in one tensor; a tied head.
GPT2 = tiny_decoder(
    norm="layer", position="learned", attention_bias=True, output_bias=True, mlp_bias=True, mlp_activation="gelu_tanh",
    num_heads=5, num_kv_heads=5, d_head=4, tie_embeddings=True, norm_epsilon=1e-5, family="gpt2",
)  # fmt: skip
LLAMA = tiny_decoder()


def tensors_of(config):
    return tensors_from_params(families.layout(config), random_params(config))


def cast(tensors, dtype):
    return {name: jax.numpy.asarray(tensor, dtype) for name, tensor in tensors.items()}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("config", [T5, GPT2, LLAMA], ids=["t5", "gpt2", "llama"])
def test_the_bytes_are_those_of_safetensors(config, dtype, tmp_path):
    save_flax(cast(tensors_of(config), dtype), tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    (written,) = writer.save(tmp_path / "ours", config, random_params(config), dtype=dtype)
    assert written.read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    assert not [path for path in (tmp_path / "ours").iterdir() if path.name.startswith(".")]


names = st.text('ab.öμ"\\/0{', min_size=1, max_size=12).filter(lambda name: name != "__metadata__")


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=6), st.randoms())
def test_any_tensors_in_any_order(tmp_path_factory, shapes, order):
    path = tmp_path_factory.mktemp("files")
    values = {name: np.random.default_rng(len(name)).normal(size=shape).astype("f4") for name, shape in shapes.items()}
    save_file(values, path / "theirs", metadata={"format": "pt"})
    file = FileWriter(path / "ours", shapes, "F32")
    for name in order.sample(sorted(shapes), len(shapes)):
        file.put(name, values[name])
    file.finish()
    assert (path / "ours").read_bytes() == (path / "theirs").read_bytes()
    read = reader.LazyTensors(read_header(path / "ours"))
    assert sorted(read) == sorted(values)
    for name, value in values.items():
        np.testing.assert_array_equal(read[name], value)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 60))
def test_shards_hold_every_tensor_once_and_keep_to_their_size(sizes, largest):
    groups = shards([(str(index), size) for index, size in enumerate(sizes)], largest)
    assert sorted(int(name) for group in groups for name in group) == list(range(len(sizes)))
    for group in groups:
        assert sum(sizes[int(name)] for name in group) <= largest or len(group) == 1
        assert group == sorted(group, key=int)


def test_several_files_have_an_index_and_read_as_one(tmp_path):
    params = random_params(T5)
    files = writer.save(tmp_path, T5, params, max_shard_bytes=9000)
    assert len(files) > 2
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {path.name for path in files}
    assert index["metadata"]["total_size"] == 4 * index["metadata"]["total_parameters"]
    for path in files:
        names = {name for name, file in index["weight_map"].items() if file == path.name}
        assert set(load_file(path)) == names
    jax.tree.map(np.testing.assert_array_equal, reader.load(tmp_path)[1], params)
    # One file in the place of several leaves none of them behind.
    writer.save(tmp_path, T5, params)
    assert [path.name for path in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]


@pytest.mark.parametrize("config", [T5, GPT2, LLAMA], ids=["t5", "gpt2", "llama"])
def test_a_stream_has_each_parameter_once_and_reads_each_tensor_once(config, tmp_path, monkeypatch):
    params = random_params(config)
    writer.save(tmp_path, config, params, max_shard_bytes=5000)
    asked = []
    read = reader.LazyTensors.__getitem__
    monkeypatch.setattr(reader.LazyTensors, "__getitem__", lambda self, name: asked.append(name) or read(self, name))
    streamed = list(reader.stream(tmp_path, config))
    assert sorted(asked) == sorted(reader.open_tensors(tmp_path))
    assert sorted(path for path, _ in streamed) == sorted(shapes_of(config))
    for path, values in streamed:
        expected = params
        for part in path:
            expected = expected[part]
        np.testing.assert_array_equal(values, expected)
    assert {place.name for place, _ in reader.stream_tensors(tmp_path, config)} == set(asked)


def test_parameters_may_come_one_after_the_other(tmp_path):
    stream = ((path, values) for path, values in list(_flat(random_params(GPT2)))[::-1])
    (streamed,) = writer.save(tmp_path / "a", GPT2, stream)
    (whole,) = writer.save(tmp_path / "b", GPT2, random_params(GPT2))
    assert streamed.read_bytes() == whole.read_bytes()


def _flat(params, path=()):
    for name, value in params.items():
        yield from _flat(value, (*path, name)) if isinstance(value, dict) else [((*path, name), value)]


def test_tensors_are_in_the_order_of_modules():
    names = [place.name for place in places(families.layout(T5), shapes_of(T5))]
    assert names[0] == "shared.weight"
    assert names[-1] == "lm_head.weight"
    bias = names.index("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
    assert names[bias - 1].endswith("SelfAttention.o.weight")
    assert names.index("decoder.block.0.layer.2.layer_norm.weight") < names.index(
        "decoder.block.1.layer.0.SelfAttention.q.weight"
    )
    assert names.index("encoder.final_layer_norm.weight") < names.index(
        "decoder.block.0.layer.0.SelfAttention.q.weight"
    )


def test_nothing_half_written_is_left(tmp_path):
    def broken():
        yield next(_flat(random_params(T5)))
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        writer.save(tmp_path, T5, broken())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="lacks"):
        writer.save(tmp_path, T5, [])
    assert list(tmp_path.iterdir()) == []


def test_values_that_a_type_has_no_room_for(tmp_path):
    params = random_params(T5)
    params["embedding"][3, 2] = 1e5
    with pytest.raises(UserError, match=r"'shared\.weight' has a value of size 1e\+05, too large for float16"):
        writer.save(tmp_path, T5, params, dtype="float16")
    assert list(tmp_path.iterdir()) == []
    writer.save(tmp_path, T5, params, dtype="bfloat16")
    with pytest.raises(UserError, match="Unknown dtype 'floatt16'"):
        writer.save(tmp_path, T5, params, dtype="floatt16")


@pytest.mark.parametrize(("value", "shown"), [(np.nan, 1), (np.inf, 1), (-np.inf, 1)])
def test_weights_that_are_no_numbers_are_refused_by_name(value, shown, tmp_path):
    params = random_params(T5)
    params["decoder"]["layers"]["mlp"]["wo"][1, 2, 3] = value
    writer.save(tmp_path, T5, params)
    name = "decoder.block.1.layer.2.DenseReluDense.wo.weight"
    with pytest.raises(UserError, match=rf"{re.escape(name)}' holds {shown} value that is infinite or not a number"):
        reader.load(tmp_path)
    loaded = reader.load(tmp_path, allow_nonfinite=True)[1]
    np.testing.assert_array_equal(loaded["decoder"]["layers"]["mlp"]["wo"][1, 2, 3], value)


def saved(tmp_path):
    writer.save(tmp_path, T5, random_params(T5))
    return tmp_path / "model.safetensors"


def test_a_file_that_is_cut_short(tmp_path):
    path = saved(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(UserError, match=rf"cut short: it has {len(whole) - 5:,} bytes of {len(whole):,}"):
        reader.load(tmp_path)
    path.write_bytes(whole[:30])
    with pytest.raises(UserError, match="cannot be read as a safetensors file: its header is longer than the file"):
        reader.load(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read as a safetensors file"):
        reader.load(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_whatever_the_header_holds_is_a_sentence(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("junk") / "model.safetensors"
    path.write_bytes(len(junk).to_bytes(8, "little") + junk)
    message = "Download it again"
    try:
        assert read_header(path) == {}
    except UserError as error:
        message = str(error)
    assert "Download it again" in message


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}},
        {"a": [1]},
        {"a": {"dtype": "F32", "data_offsets": [0, 4]}},
    ],
)
def test_headers_that_lie(header, tmp_path):
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(UserError, match="cannot be read as a safetensors file"):
        read_header(tmp_path / "x")


def test_quantised_weights_are_refused(tmp_path):
    tensors = tensors_of(T5)
    tensors["shared.weight"] = tensors["shared.weight"].astype(np.int8)
    saved(tmp_path)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"'shared\.weight' in .* has the type I8, as in quantised weights"):
        reader.load(tmp_path)


def test_an_index_that_names_what_is_not_there(tmp_path):
    files = writer.save(tmp_path, T5, random_params(T5), max_shard_bytes=9000)
    index_path = tmp_path / "model.safetensors.index.json"
    index = json.loads(index_path.read_text())
    count = sum(file == files[1].name for file in index["weight_map"].values())
    hidden = files[1].rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=rf"names the file '{files[1].name}' for {count} tensors, but it is missing"):
        reader.load(tmp_path)
    hidden.rename(files[1])
    for wrong, message in (
        ({**index["weight_map"], "shared.weight": "../x.safetensors"}, "not in its folder"),
        ({**index["weight_map"], "shared.weight": files[-1].name}, r"lacks 'shared\.weight', which the index"),
        ([], "has no 'weight_map'"),
        ({"a": 3}, "has no 'weight_map'"),
    ):
        index_path.write_text(json.dumps({"weight_map": wrong}))
        with pytest.raises(UserError, match=message):
            reader.load(tmp_path)


@pytest.mark.parametrize(("config", "kind"), [(T5, "AutoModelForSeq2SeqLM"), (LLAMA, "AutoModelForCausalLM")])
def test_pickled_weights_come_with_the_command_that_converts_them(config, kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(families.fields_from_config(config)))
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        reader.load(tmp_path)
    (tmp_path / "pytorch_model-00001-of-00002.bin").write_bytes(b"\x80")
    with pytest.raises(UserError, match=rf"pytorch_model-00001-of-00002\.bin .*t\.{kind}\.from_pretrained"):
        reader.load(tmp_path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("lama", "Unknown model_type 'lama'. Did you mean 'llama'"),
        ("mt6", "Did you mean 'mt5'"),
        ("umt5", "UMT5 has a table of position biases in every layer"),
        ("switch_transformers", "feed-forward layers are chosen among experts.* The nearest that is read is 't5'"),
        ("qwen3_moe", "chosen among experts, token by token. The nearest that is read is 'qwen3'"),
        ("gemma3n", "has several streams.* The nearest that is read is 'gemma4_text'"),
        (None, "Unknown model_type 'None'"),
    ],
)
def test_kinds_of_models_that_are_not_read(kind, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "vocab_size": 3}))
    with pytest.raises(UserError, match=message):
        reader.read_config(tmp_path)


def test_the_nearest_of_a_relative_is_one_that_is_read_and_no_relative_is():
    known = {*decoders.FAMILIES, *t5.MODEL_TYPES, *t5gemma.MODEL_TYPES}
    assert {nearest for nearest, _ in RELATIVES.values()} <= known
    assert not set(RELATIVES) & (known | set(decoders.wrapped()))


def test_fields_and_architectures_of_t5_that_are_not_known():
    fields = families.fields_from_config(T5)
    assert families.config_from_fields({**fields, "use_something": False}) == T5
    with pytest.raises(UserError, match="use_something=3, which has no meaning here for a model of type 't5'"):
        families.config_from_fields({**fields, "use_something": 3})
    with pytest.raises(UserError, match=r"Unknown architecture 'T5EncoderModel'.*Did you mean"):
        families.config_from_fields({**fields, "architectures": ["T5EncoderModel"]})


@pytest.mark.parametrize("config", [T5, LLAMA], ids=["t5", "llama"])
def test_the_configuration_says_which_type_the_weights_have(config, tmp_path):
    writer.save(tmp_path, config, random_params(config), dtype="bfloat16")
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    read = reader.read_config(tmp_path, dtype="bfloat16")
    assert read.dtype == "bfloat16"
    assert type(read) is (DecoderConfig if config is LLAMA else type(T5))


@pytest.mark.parametrize(("text", "size"), [("5GB", 5 * 10**9), ("1.5 mib", 3 * 2**19), ("300", 300), ("2 KB", 2000)])
def test_sizes_in_words(text, size):
    assert writer.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "5 TBs", "0MB", "1e3"])
def test_sizes_that_are_none(text):
    with pytest.raises(UserError, match="is no size"):
        writer.parse_size(text)


def test_the_metadata_is_that_of_pytorch(tmp_path):
    with safe_open(saved(tmp_path), framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_json_that_is_nested_too_deeply_is_named(tmp_path):
    deep = b"[" * 100_000
    (tmp_path / "config.json").write_bytes(deep)
    with pytest.raises(UserError, match=r"config\.json is not a JSON file"):
        reader.read_config(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep)
    with pytest.raises(UserError, match="its header is damaged"):
        read_header(tmp_path / "model.safetensors")
