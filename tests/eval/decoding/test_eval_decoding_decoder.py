"""Generation with a real decoder: what it writes after prompts of several lengths is what its whole rows say."""

import jax
import numpy as np

from flan_jax.eval.decoding.beam import beam_search
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.eval.decoding.generation import generate
from flan_jax.models import build
from flan_jax.testing.models import random_params, tiny_decoder

CONFIG = tiny_decoder(num_layers=2, bos_id=2, sliding_window=4, window_pattern=(True, False))
GRAPH, PARAMS = build.abstract_model(CONFIG)[0], jax.tree.map(jax.numpy.asarray, random_params(CONFIG))
LENGTHS, MOST = np.array([5, 3, 1]), 6


def prompts():
    tokens = np.random.default_rng(0).integers(3, 61, (3, 5)).astype(np.int32)
    tokens[:, 0] = 0  # read as the beginning, as in the feed's rows
    return tokens


def log_likelihoods(row, text):
    """Of each token of the text up to its end, from one pass over the whole row."""
    whole = np.concatenate([prompts()[row, : LENGTHS[row]], text])[None]
    logits = np.asarray(build.apply(GRAPH, PARAMS, {"decoder_input_tokens": whole})[0])
    steps = np.asarray(jax.nn.log_softmax(logits, axis=-1))[LENGTHS[row] - 1 : -1]
    end = np.flatnonzero(text == CONFIG.eos_id)
    count = end[0] + 1 if len(end) else len(text)
    return steps[:count], text[:count]


def test_greedy_texts_are_the_most_likely_tokens_of_the_whole_rows():
    written = np.asarray(generate(PARAMS, prompts(), LENGTHS, graphdef=GRAPH, max_length=MOST))
    for row, text in enumerate(written):
        steps, tokens = log_likelihoods(row, text)
        assert steps.argmax(axis=-1).tolist() == tokens.tolist()


def test_beams_keep_their_own_rows_of_the_cache():
    decoding = DecodingConfig(method="beam", beams=3)

    @jax.jit
    def search(params):
        model = build.merge(GRAPH, params)
        state = model.prefill(prompts(), LENGTHS, MOST)
        finished = LENGTHS == 0
        return beam_search(model, state, finished, None, decoding=decoding, max_length=MOST, vocabulary_size=None)

    texts = search(PARAMS)
    for row in range(3):
        for text, scores in zip(np.asarray(texts.tokens[row]), np.asarray(texts.scores[row]), strict=True):
            steps, tokens = log_likelihoods(row, text)
            # worth is the mean over the tokens of a text
            np.testing.assert_allclose(steps[np.arange(len(tokens)), tokens].mean(), scores, atol=1e-5)
