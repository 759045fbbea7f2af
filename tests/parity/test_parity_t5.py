"""The same weights in transformers' PyTorch T5 and here: logits, greedy generation, files, buckets."""

import functools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import AS_USERS, apply, value_and_gradients

from flan_jax.models import build
from flan_jax.models.huggingface import reader, writer
from flan_jax.models.huggingface.t5 import config_from_fields, fields_from_config, layout
from flan_jax.models.huggingface.tensors import params_from_tensors, tensors_from_params
from flan_jax.models.t5.attention import distance_buckets
from flan_jax.models.t5.presets import PRESETS, preset
from flan_jax.testing.models import random_params

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def params_from_hf(config, tensors):
    return params_from_tensors(config, layout(config), tensors)


def params_to_hf(config, params):
    return tensors_from_params(layout(config), params)


def random_config(seed):
    draw = random.Random(seed)
    return {
        "vocab_size": draw.randrange(20, 90),
        "d_model": draw.randrange(5, 40),
        "d_kv": draw.randrange(2, 12),
        "num_heads": draw.choice([1, 3, 5, 7]),
        "d_ff": draw.randrange(5, 60),
        "num_layers": draw.randrange(1, 4),
        "num_decoder_layers": draw.randrange(1, 4),
        "relative_attention_num_buckets": draw.choice([4, 8, 32]),
        "relative_attention_max_distance": draw.choice([20, 64, 128]),
        "feed_forward_proj": draw.choice(["gated-gelu", "gated-silu", "relu", "gelu"]),
        "tie_word_embeddings": draw.random() < 0.5,
        "layer_norm_epsilon": draw.choice([1e-6, 1e-3]),
        "decoder_start_token_id": 0,
    }


def torch_model(fields, seed=0, separate_head=True):
    torch.manual_seed(seed)
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**fields)).eval()
    if separate_head and not fields["tie_word_embeddings"]:
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * fields["d_model"] ** -0.5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif "relative_attention_bias" in name:
                parameter.normal_()
    return model


def ours(model, fields):
    config = config_from_fields(fields)
    return build.abstract_model(config)[0], params_from_hf(
        config, {k: v.numpy() for k, v in model.state_dict().items()}
    )


def tokens(fields, shape, seed):
    return np.random.default_rng(seed).integers(2, fields["vocab_size"], shape)


def torch_logits(model, inputs, mask, decoder):
    as_tensor = lambda array: torch.from_numpy(np.asarray(array)).long()  # noqa: E731
    with torch.no_grad():
        output = model(
            input_ids=as_tensor(inputs), attention_mask=as_tensor(mask), decoder_input_ids=as_tensor(decoder)
        )
    return output.logits.numpy()


@pytest.mark.parametrize("seed", range(10))
def test_logits(seed):
    fields = random_config(seed)
    model = torch_model(fields, seed)
    graphdef, params = ours(model, fields)
    inputs, decoder = tokens(fields, (4, 45), seed), tokens(fields, (4, 37), seed + 100)
    mask = np.arange(45) < np.array([45, 30, 7, 1])[:, None]
    expected = torch_logits(model, inputs, mask, decoder)
    # Tokens stay where the mask hides them: the mask alone has to do it.
    batch = {
        "encoder_input_tokens": inputs,
        "encoder_segment_ids": mask.astype(np.int32),
        "decoder_input_tokens": decoder,
    }
    logits = apply(graphdef, params, batch)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))


def test_logits_of_a_model_that_transformers_left_tied_but_unscaled():
    fields = {**random_config(0), "tie_word_embeddings": False}
    model = torch_model(fields, separate_head=False)
    graphdef, params = ours(model, fields)
    inputs, decoder = tokens(fields, (2, 9), 0), tokens(fields, (2, 5), 1)
    expected = torch_logits(model, inputs, np.ones_like(inputs), decoder)
    logits = apply(graphdef, params, {"encoder_input_tokens": inputs, "decoder_input_tokens": decoder})
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))


# The shapes of families: T5 1.0 tied, FLAN-T5 and mT5 untied, ByT5 with a deep encoder and a tiny vocabulary.
FAMILY_FIELDS = {
    "t5": {"tie_word_embeddings": True, "feed_forward_proj": "relu"},
    "flan_t5": {"tie_word_embeddings": False, "feed_forward_proj": "gated-gelu"},
    "mt5": {"tie_word_embeddings": False, "feed_forward_proj": "gated-gelu", "vocab_size": 301},
    "byt5": {
        "tie_word_embeddings": False, "feed_forward_proj": "gated-gelu", "num_layers": 4, "num_decoder_layers": 1,
        "vocab_size": 24,
    },
}  # fmt: skip


AS_USERS_HAVE_IT = ("flan_t5", 1)
"""The case whose numbers are of a program that is compiled as users have it."""


@pytest.mark.parametrize("family", FAMILY_FIELDS)
@pytest.mark.parametrize("seed", range(3))
def test_logits_loss_and_gradients_of_families(family, seed):
    fields = {**random_config(seed), **FAMILY_FIELDS[family]}
    model = torch_model(fields, seed)
    graphdef, params = ours(model, fields)
    inputs, decoder, targets = tokens(fields, (2, 40), 0), tokens(fields, (2, 30), 1), tokens(fields, (2, 30), 2)

    def loss(params):
        logits = build.apply(graphdef, params, {"encoder_input_tokens": inputs, "decoder_input_tokens": decoder})
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.asarray(targets)[..., None], axis=-1)
        return -chosen.mean(), logits

    (value, logits), gradients = value_and_gradients(loss, params, as_users=(family, seed) == AS_USERS_HAVE_IT)
    output = model(input_ids=torch.from_numpy(inputs), decoder_input_ids=torch.from_numpy(decoder))
    expected_logits = output.logits.detach().numpy()
    scale = max(1.0, np.abs(expected_logits).max())
    np.testing.assert_allclose(logits, expected_logits, rtol=0, atol=1e-4 * scale)
    expected = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), torch.from_numpy(targets).flatten())
    assert value == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    theirs = {name: p.grad.numpy() for name, p in model.named_parameters()}
    norm = np.sqrt(sum(np.square(g).sum() for g in theirs.values()))
    assert np.sqrt(sum(np.square(g).sum() for g in jax.tree.leaves(gradients))) == pytest.approx(norm, rel=1e-4)
    expected_gradients = params_from_hf(config_from_fields(fields), theirs)
    for (path, a), b in zip(jax.tree.leaves_with_path(gradients), jax.tree.leaves(expected_gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * norm, err_msg=jax.tree_util.keystr(path))


def test_greedy_generation():
    fields = {**random_config(4), "eos_token_id": 1, "tie_word_embeddings": False}
    model = torch_model(fields, 4)
    graphdef, params = ours(model, fields)
    inputs = tokens(fields, (3, 12), 0)
    inputs[1, 7:] = 0
    mask = (inputs != 0).astype(np.int32)
    expected = model.generate(
        input_ids=torch.from_numpy(inputs), attention_mask=torch.from_numpy(mask), max_new_tokens=15,
        min_new_tokens=15, do_sample=False, num_beams=1,
    ).numpy()[:, 1:]  # fmt: skip

    def step(model_here, carry, _):
        cache, token = carry
        logits, cache = model_here.decode_step(cache, token)
        token = logits.at[:, 1].set(-jnp.inf).argmax(-1)
        return (cache, token), token

    @functools.partial(jax.jit, compiler_options=AS_USERS)
    def written(params):
        model_here = build.merge(graphdef, params)
        cache = model_here.init_cache(model_here.encode(inputs), mask, 15)
        return jax.lax.scan(functools.partial(step, model_here), (cache, jnp.zeros(3, jnp.int32)), length=15)[1]

    generated = written(params)
    np.testing.assert_array_equal(generated.T, expected)


@pytest.mark.parametrize("tied", [False, True])
def test_transformers_loads_what_is_saved_here_and_the_reverse(tied, tmp_path):
    fields = {**random_config(5), "tie_word_embeddings": tied}
    config = config_from_fields(fields)
    graphdef, params = build.abstract_model(config)[0], random_params(config)
    writer.save(tmp_path / "ours", config, params)
    model = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "ours").eval()
    inputs, decoder = tokens(fields, (2, 9), 0), tokens(fields, (2, 5), 1)
    logits = apply(graphdef, params, {"encoder_input_tokens": inputs, "decoder_input_tokens": decoder})
    expected = torch_logits(model, inputs, np.ones_like(inputs), decoder)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))
    model.save_pretrained(tmp_path / "theirs")
    again_config, again = reader.load(tmp_path / "theirs")
    assert again_config == config
    jax.tree.map(np.testing.assert_array_equal, again, params)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_preset_sizes(name):
    config = preset(name)
    fields = {k: v for k, v in fields_from_config(config).items() if k not in {"architectures", "model_type"}}
    with torch.device("meta"):
        model = transformers.T5ForConditionalGeneration(transformers.T5Config(**fields))
    separate_head = 0 if config.tie_embeddings else config.vocab_size * config.d_model
    assert build.num_params(config) == sum(p.numel() for p in model.parameters()) + separate_head


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (8, 12), (64, 256), (4, 128), (32, 1000)])
def test_buckets(bidirectional, buckets, distance):
    bucket = transformers.models.t5.modeling_t5.T5Attention._relative_position_bucket
    offsets = -torch.arange(2 * distance)
    theirs = bucket(offsets, bidirectional=bidirectional, num_buckets=buckets, max_distance=distance).numpy()
    table = distance_buckets(buckets // 2 if bidirectional else buckets, distance)
    np.testing.assert_array_equal(table[np.minimum(np.arange(2 * distance), distance)], theirs)
