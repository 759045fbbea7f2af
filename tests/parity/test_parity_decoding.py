"""The same weights in transformers' PyTorch models and here write the same tokens; the same filters leave the same logits."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest
import test_parity_decoder as decoders
from deep import every_second, with_deep
from test_parity_t5 import ours, random_config, torch_model

from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.eval.decoding.filters import sampling_logits
from flan_jax.eval.decoding.generation import generate

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

EOS, LENGTH = 1, 12
# Random models, with how much likelier EOS is made in each, so that texts end early and late.
SEEDS = {0: 1.5, 3: 2.0, 4: 3.0, 5: 2.0}


@functools.cache
def models(seed):
    """A T5 whose scores differ clearly, and which ends its texts early here and there."""
    fields = {**random_config(seed), "eos_token_id": EOS, "pad_token_id": 0, "tie_word_embeddings": False}
    fields["num_decoder_layers"] = fields["num_layers"]  # transformers' cache counts the encoder's
    model = torch_model(fields, seed)
    with torch.no_grad():
        model.lm_head.weight *= 4.0
        model.lm_head.weight[EOS] *= SEEDS[seed]
    return fields, model, *ours(model, fields)


@functools.cache
def decoder(kind):
    """Fields, model, and what is made of it here."""
    fields = decoders.random_fields(kind, 1)
    model = decoders.torch_model(kind, fields, 1)
    return fields, model, *decoders.ours(model)[1:]


def prompts(fields, seed, rows=16, longest=14):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, rows).astype(np.int32)
    tokens = rng.integers(2, fields["vocab_size"], (rows, longest)).astype(np.int32)
    return np.where(np.arange(longest) < lengths[:, None], tokens, 0).astype(np.int32), lengths


def theirs(model, tokens, lengths, **settings):
    mask = np.arange(tokens.shape[1]) < lengths[:, None]
    written = model.generate(
        input_ids=torch.from_numpy(tokens).long(), attention_mask=torch.from_numpy(mask).long(), max_new_tokens=LENGTH,
        do_sample=False, **settings,
    ).numpy()[:, 1:]  # fmt: skip
    return [up_to_eos(row) for row in written]


def up_to_eos(row):
    row = [int(token) for token in row]
    return row[: row.index(EOS) + 1] if EOS in row else row


def mine(graphdef, params, tokens, lengths, decoding):
    written = generate(params, tokens, lengths, graphdef=graphdef, max_length=LENGTH, decoding=decoding)
    return [up_to_eos(row) for row in np.asarray(written)]


@pytest.mark.parametrize(("seed", "shortest"), every_second(SEEDS, [0, 4]))
def test_greedy(seed, shortest):
    fields, model, graphdef, params = models(seed)
    tokens, lengths = prompts(fields, seed)
    expected = theirs(model, tokens, lengths, num_beams=1, min_new_tokens=shortest or None)
    assert mine(graphdef, params, tokens, lengths, DecodingConfig(min_length=shortest)) == expected


# All kinds of early stopping for a positive and for a negative penalty: its sign says which length bounds a search.
@pytest.mark.parametrize(
    ("seed", "beams", "length_penalty", "shortest", "early_stopping"),
    with_deep(
        [
            (0, 1, 1.0, 0, True), (3, 2, 1.0, 0, False), (4, 3, 0.0, 0, "never"), (3, 4, 0.6, 3, "never"),
            (4, 8, 1.0, 0, True), (5, 4, 2.0, 0, True), (5, 4, 2.0, 0, False), (5, 4, 2.0, 0, "never"),
            (0, 5, -1.0, 0, True), (0, 5, -1.0, 0, False), (0, 5, -1.0, 0, "never"),
        ],
        [
            (0, 1, 1.0, 0, False), (0, 1, 1.0, 0, "never"), (3, 2, 1.0, 0, True), (3, 2, 1.0, 0, "never"),
            (4, 3, 0.0, 0, True), (4, 3, 0.0, 0, False), (3, 4, 0.6, 3, True), (3, 4, 0.6, 3, False),
            (4, 8, 1.0, 0, False), (4, 8, 1.0, 0, "never"),
        ],
    ),
)  # fmt: skip
def test_beam_search(seed, beams, length_penalty, shortest, early_stopping):
    fields, model, graphdef, params = models(seed)
    tokens, lengths = prompts(fields, seed + 10 * beams)
    settings = {"length_penalty": length_penalty, "early_stopping": early_stopping}
    expected = theirs(model, tokens, lengths, num_beams=beams, min_new_tokens=shortest or None, **settings)
    decoding = DecodingConfig(method="beam", beams=beams, min_length=shortest, **settings)
    assert mine(graphdef, params, tokens, lengths, decoding) == expected
    assert len(set(map(len, expected))) > 2
    assert beams == 1 or expected != theirs(model, tokens, lengths, num_beams=1)


@pytest.mark.parametrize(
    ("options", "kind"),
    every_second(
        [{}, {"beams": 4, "early_stopping": True}, {"beams": 3, "length_penalty": 2.0}],
        ["gpt2", "llama", "gemma2", "qwen3"],
    ),
)
def test_decoders(kind, options):
    """The prompts of a batch differ in length: transformers wants their padding in front."""
    fields, model, graphdef, params = decoder(kind)
    tokens, lengths = prompts(fields, 7)
    left = np.zeros_like(tokens)
    for row, length in enumerate(lengths):
        left[row, tokens.shape[1] - length :] = tokens[row, :length]
    expected = model.generate(
        input_ids=torch.from_numpy(left).long(),
        attention_mask=torch.from_numpy((np.arange(14) >= 14 - lengths[:, None]).astype(int)),
        max_new_tokens=LENGTH, do_sample=False, pad_token_id=0, num_beams=options.get("beams", 1),
        **{name: value for name, value in options.items() if name != "beams"},
    ).numpy()[:, tokens.shape[1] :]  # fmt: skip
    decoding = DecodingConfig("beam", **options) if options else DecodingConfig()
    assert mine(graphdef, params, tokens, lengths, decoding) == [up_to_eos(row) for row in expected]


@pytest.mark.parametrize(
    ("kind", "options"), every_second(["t5", "gpt2", "llama", "gemma2"], [(1, 1.3), (3, 1.3), (3, 0.7), (1, 0.7)])
)
def test_repetition_penalty(kind, options):
    """Of a decoder the prompt counts, its first token too; of an encoder-decoder the start of what is written."""
    beams, penalty = options
    method = DecodingConfig("beam", beams=beams) if beams > 1 else DecodingConfig()
    decoding = dataclasses.replace(method, repetition_penalty=penalty)
    if kind == "t5":
        fields, model, graphdef, params = models(3)
        tokens, lengths = prompts(fields, 3)
        expected = theirs(model, tokens, lengths, num_beams=beams, repetition_penalty=penalty)
        plain = theirs(model, tokens, lengths, num_beams=beams)
    else:
        fields, model, graphdef, params = decoder(kind)
        tokens, lengths = prompts(fields, 7)

        def written(**settings):
            # A row at a time: transformers counts the padding of a batch as seen.
            rows = [
                model.generate(
                    input_ids=torch.from_numpy(tokens[row : row + 1, :length]).long(), max_new_tokens=LENGTH,
                    do_sample=False, pad_token_id=0, num_beams=beams, **settings,
                ).numpy()[0, length:]
                for row, length in enumerate(lengths)
            ]  # fmt: skip
            return [up_to_eos(row) for row in rows]

        expected, plain = written(repetition_penalty=penalty), written()
    assert mine(graphdef, params, tokens, lengths, decoding) == expected
    assert expected != plain


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [
        (0.7, 0, 1.0),
        (1.0, 5, 1.0),
        (1.0, 1, 1.0),
        (1.0, 500, 1.0),
        (1.0, 0, 0.9),
        (1.0, 0, 0.01),
        (1.3, 10, 0.8),
        (0.5, 40, 0.95),
    ],
)
def test_filters(temperature, top_k, top_p):
    logits = np.random.default_rng(0).normal(size=(64, 100)).astype(np.float32) * 3
    processors = transformers.LogitsProcessorList([transformers.TemperatureLogitsWarper(temperature)])
    if top_k:
        processors.append(transformers.TopKLogitsWarper(top_k))
    if top_p < 1:
        processors.append(transformers.TopPLogitsWarper(top_p))
    expected = processors(None, torch.from_numpy(logits)).numpy()
    found = sampling_logits(jnp.asarray(logits), DecodingConfig("sample", temperature, top_k, top_p))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.isfinite(expected).sum() < expected.size or (top_k in (0, 500) and top_p == 1)
