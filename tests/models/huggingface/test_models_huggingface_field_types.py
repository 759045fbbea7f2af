"""A value of another kind than its field: one sentence that names the field, never an error of Python's."""

import copy

import pytest

from flan_jax.errors import UserError
from flan_jax.models.decoder_presets import PRESETS as DECODERS
from flan_jax.models.huggingface.families import config_from_fields, fields_from_config
from flan_jax.models.t5.presets import PRESETS as T5S

NAMES = ("llama3_2_1b", "gpt2", "qwen2_5_0_5b", "gemma2_2b", "gemma3_1b")
MODELS = {"t5_1_1_small": T5S["t5_1_1_small"], **{name: DECODERS[name] for name in NAMES if name in DECODERS}}
STRANGE = (
    None, "x", "", -1, 0, 1.5, [], ["x"], [None], [[1]], {}, {"a": 1}, True, 10**30, -(10**30), float("nan"),
    float("inf"), {"full_attention": 3},
)  # fmt: skip


def places(fields):
    """The way to every field, those in tables too."""
    for name, value in fields.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, *inner) for inner in places(value))


def changed(fields, place, value):
    fields = copy.deepcopy(fields)
    table = fields
    for name in place[:-1]:
        table = table[name]
    table[place[-1]] = value
    return fields


@pytest.mark.parametrize("name", MODELS)
def test_whatever_stands_in_a_field_is_read_or_refused_in_a_sentence(name):
    fields = fields_from_config(MODELS[name])
    refusals = []
    for place in places(fields):
        for value in STRANGE:
            try:
                config_from_fields(changed(fields, place, value))
            except UserError as error:
                refusals.append(str(error))
    assert len(refusals) > 100
    assert not [sentence for sentence in refusals if "\n" in sentence or len(sentence) > 400]
    assert config_from_fields(fields) == config_from_fields(copy.deepcopy(fields))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("eos_token_id",), "x", "eos_token_id is 'x'; it has to be a token id, or a list of them"),
        (("num_hidden_layers",), 10**30, "it has to be a whole number from 1 to 100,000"),
        (("num_attention_heads",), 0, "num_attention_heads is 0; it has to be a whole number of at least 1"),
        (("rms_norm_eps",), "1e-6", "rms_norm_eps is '1e-6'; it has to be a number"),
        (("rope_parameters", "rope_theta"), None, "rope_parameters.rope_theta is None; it has to be a number above 0"),
        (("architectures",), [None], "it has to be a list of texts"),
    ],
)
def test_the_field_and_what_it_has_to_be_are_named(place, value, message):
    fields = {**fields_from_config(DECODERS["llama3_2_1b"]), "rope_scaling": None}
    with pytest.raises(UserError) as caught:
        config_from_fields(changed(fields, place, value))
    assert message in str(caught.value)
