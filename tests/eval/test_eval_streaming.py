"""Texts that are shown while they are written."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import with_deep
from eval_toys import CONFIG, decode, encode

from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.eval.decoding.stopping import certain_part
from flan_jax.eval.examples import EvalExample
from flan_jax.eval.streaming import StreamingPredictor
from flan_jax.models.build import abstract_model
from flan_jax.testing.models import random_params, tiny_decoder

EXAMPLE = EvalExample(np.array([7, 9, 4, 1], np.int32), (), ("",), 3, 0)


@pytest.fixture(scope="module", params=[CONFIG, tiny_decoder()], ids=["t5", "decoder"])
def predictor(request):
    params = jax.tree.map(jnp.asarray, random_params(request.param))
    return StreamingPredictor(abstract_model(request.param)[0], params, encode, decode, target_length=9)


@pytest.mark.parametrize(
    "decoding",
    with_deep(
        [DecodingConfig("sample", temperature=2.0, seed=5), DecodingConfig("beam", beams=2)],
        [GREEDY, DecodingConfig(repetition_penalty=1.7, min_length=3)],
    ),
)
def test_the_last_is_what_is_generated_and_each_begins_the_next(predictor, decoding):
    predictor = dataclasses.replace(predictor, decoding=decoding)
    texts = list(predictor.stream(EXAMPLE))
    assert texts[-1] == predictor.generate([EXAMPLE])[0]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert len(texts) == (1 if decoding.method == "beam" else pytest.approx(9, abs=8))


def test_a_token_at_a_time(predictor):
    texts = list(dataclasses.replace(predictor, decoding=DecodingConfig(min_length=9)).stream(EXAMPLE))
    assert [len(text.split()) for text in texts[-3:]] == [7, 8, 9]


def test_a_text_ends_before_its_stop_and_no_part_of_one_is_shown(predictor):
    plain = list(dataclasses.replace(predictor, decoding=DecodingConfig(min_length=9)).stream(EXAMPLE))[-1]
    stop = " ".join(plain.split()[2:5])
    texts = list(dataclasses.replace(predictor, decoding=DecodingConfig(min_length=9, stop=(stop,))).stream(EXAMPLE))
    assert texts[-1] == plain[: plain.index(stop)]
    assert all(texts[-1].startswith(text) for text in texts)


@pytest.mark.parametrize(
    ("text", "stops", "certain"),
    [
        ("One.\nQ", ("\nQ:",), "One."),
        ("One.\nQ", (), "One.\nQ"),
        ("One.\n", ("\nQ:", "\n\n"), "One."),
        ("One.\nA", ("\nQ:",), "One.\nA"),
        ("caf\ufffd", ((5, 6),), "caf"),
    ],
)
def test_what_the_next_tokens_may_change_is_held_back(text, stops, certain):
    assert certain_part(text, stops) == certain


def test_a_prompt_without_room_is_refused():
    config = tiny_decoder(position="learned", max_positions=8)
    predictor = StreamingPredictor(abstract_model(config)[0], random_params(config), encode, decode, target_length=9)
    with pytest.raises(UserError, match="has 8 positions for them"):
        next(predictor.stream(EXAMPLE))
