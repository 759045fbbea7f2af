"""Batches of prompts that begin alike: complete, truly alike, and at the least cost; the answers stay the same."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.eval.decoding.shared_prompts import SharedBatch, shared_batches, shared_length
from flan_jax.eval.examples import EvalExample
from flan_jax.eval.predictor import Predictor
from flan_jax.models import build
from flan_jax.testing.models import random_params, tiny_decoder


def prompts_of(groups, seed=0):
    """``groups``: (tokens in common, prompts, most tokens of their own)."""
    rng = np.random.default_rng(seed)
    made = []
    for common, count, own in groups:
        head = rng.integers(3, 60, common)
        made += [np.concatenate([head, rng.integers(3, 60, rng.integers(1, own + 1))]) for _ in range(count)]
    rng.shuffle(made)
    return [prompt.astype(np.int32) for prompt in made]


def cost(batches, length, rows):
    return sum(batch.shared + rows * (length - batch.shared) for batch in batches)


@given(
    groups=st.lists(st.tuples(st.integers(0, 120), st.integers(1, 7), st.integers(1, 40)), min_size=1, max_size=4),
    rows=st.integers(1, 6),
    seed=st.integers(0, 9),
)
def test_every_prompt_stands_in_one_batch_and_begins_as_the_others_of_it(groups, rows, seed):
    prompts = prompts_of(groups, seed)
    length = -(-max(map(len, prompts)) // 8) * 8
    batches = list(shared_batches(prompts, range(len(prompts)), length, rows))
    assert sorted(itertools.chain(*(batch.members for batch in batches))) == list(range(len(prompts)))
    for batch in batches:
        assert 1 <= len(batch.members) <= rows
        assert len({tuple(prompts[index][: batch.shared]) for index in batch.members}) == 1
        # The last tokens of a row, which are its own, do not reach back to its first.
        assert not batch.shared or all(len(prompts[index]) > length - batch.shared for index in batch.members)
    assert cost(batches, length, rows) <= -(-len(prompts) // rows) * rows * length


def test_the_cost_is_the_least_of_all_ways_to_cut():
    prompts = prompts_of([(70, 3, 10), (100, 4, 12), (0, 2, 90)])
    length, rows = 112, 4
    order = sorted(range(len(prompts)), key=lambda index: prompts[index].tolist())
    least = None
    for cut in itertools.product([False, True], repeat=len(prompts) - 1):
        edges = [0, *(place + 1 for place, here in enumerate(cut) if here), len(prompts)]
        runs = [order[start:stop] for start, stop in itertools.pairwise(edges)]
        if max(map(len, runs)) > rows:
            continue
        ways = []
        for run in runs:
            alike = 0
            while len(run) > 1 and len({tuple(prompts[i][: alike + 1]) for i in run}) == 1:
                alike += 1
            ways.append(SharedBatch(run, shared_length(alike, min(len(prompts[i]) for i in run), length, rows)))
        least = min(cost(ways, length, rows), least or np.inf)
    found = list(shared_batches(prompts, range(len(prompts)), length, rows))
    assert cost(found, length, rows) == least
    assert {batch.shared for batch in found} >= {64, 96}


@pytest.fixture(scope="module")
def predictors():
    """The same decoder with and without shared beginnings."""
    config = tiny_decoder(vocab_size=64, max_positions=256)
    graph, params = build.abstract_model(config)[0], random_params(config)

    class Whole(Predictor):
        _shares_prompts = False

    def make(kind):
        return kind(
            graph, params, encode=lambda text: [int(word) for word in text.split()],
            decode=lambda ids: " ".join(map(str, ids)), batch_size=4, target_length=5, vocabulary_size=60,
        )  # fmt: skip

    return make(Whole), make(Predictor)


def test_scores_and_texts_are_the_same(predictors, monkeypatch):
    plain, shared = predictors
    prompts = prompts_of([(80, 4, 12), (40, 3, 30), (3, 2, 60)])
    examples = [EvalExample(prompt, ("5 6 7", "8", "9 10"), ("8",), index, 0) for index, prompt in enumerate(prompts)]
    sizes = []
    put = type(shared._placement).put_whole
    monkeypatch.setattr(
        type(shared._placement), "put_whole", lambda self, *arrays: sizes.append(arrays[0].shape) or put(self, *arrays)
    )
    for one, other in zip(plain.rank(examples), shared.rank(examples), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert (64,) in sizes
    assert plain.generate(examples) == shared.generate(examples)
