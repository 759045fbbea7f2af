"""One table of activations for all models."""

import math

import jax
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.models.huggingface.families import config_from_fields, fields_from_config
from flan_jax.models.ops.activations import ACTIVATIONS, MLP_ACTIVATIONS, activation_of
from flan_jax.testing.models import tiny_decoder, tiny_t5

X = [-2.0, -0.5, 0.0, 0.7, 3.0]
REFERENCES = {
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_functions_are_those_of_their_names(name):
    np.testing.assert_allclose(ACTIVATIONS[name](jax.numpy.array(X)), [REFERENCES[name](x) for x in X], atol=1e-6)


@pytest.mark.parametrize("make", [tiny_t5, tiny_decoder])
@pytest.mark.parametrize("name", MLP_ACTIVATIONS)
def test_every_model_takes_every_one(make, name):
    config = make(mlp_activation=name)
    assert config.gated == name.startswith("gated-")
    assert activation_of(name) is ACTIVATIONS[name.removeprefix("gated-")]


@pytest.mark.parametrize("name", MLP_ACTIVATIONS)
def test_transformers_t5_computes_the_same_or_nothing(name):
    config = tiny_t5(mlp_activation=name)
    if name == "gated-gelu":  # transformers computes the tanh approximation behind a gate
        with pytest.raises(UserError, match="no activation 'gated-gelu'"):
            fields_from_config(config)
    else:
        assert config_from_fields(fields_from_config(config)).mlp_activation == name
