import jax
import numpy as np
import pytest
from eval_toys import CONFIG, WORDS, decode, encode

from flan_jax.eval.examples import EvalExample
from flan_jax.eval.predictor import Predictor
from flan_jax.models.build import abstract_model, init_model


@pytest.fixture(scope="session")
def model():
    """A tiny T5 with values large enough that scores and argmaxes differ clearly."""
    graphdef, _ = abstract_model(CONFIG)
    params = jax.jit(lambda key: init_model(CONFIG, key)[1])(jax.random.key(0))
    return graphdef, jax.tree.map(lambda leaf: leaf * 1.5, params)


@pytest.fixture(scope="session")
def predictor(model):
    return Predictor(*model, encode, decode, batch_size=4, target_length=6)


@pytest.fixture(scope="session")
def examples():
    rng = np.random.default_rng(0)

    def words(low, high):
        return " ".join(rng.choice(list(WORDS), rng.integers(low, high)))

    made = []
    for index in range(11):
        ids = np.array([*rng.integers(3, 61, rng.integers(1, 16)), 1])
        options = tuple(dict.fromkeys(words(1, 4) for _ in range(rng.integers(2, 6))))
        made.append(EvalExample(ids, options, (options[0],), index, index % 3, f"prompt {index}"))
    return made
