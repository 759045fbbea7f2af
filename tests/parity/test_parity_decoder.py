"""The same weights in transformers' PyTorch decoders and here: logits, gradients, generation, tensors, sizes."""

import functools
import random
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, value_and_gradients
from deep import with_deep

from flan_jax.models import build
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder_presets import PRESETS, preset
from flan_jax.models.huggingface.decoders import FAMILIES, config_from_fields, fields_from_config, layout
from flan_jax.models.huggingface.tensors import params_from_tensors, tensors_from_params

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def decoder_from_huggingface(fields, tensors):
    config = config_from_fields(fields)
    return config, params_from_tensors(config, layout(config), tensors)


def decoder_to_huggingface(config, params):
    return fields_from_config(config), tensors_from_params(layout(config), params)


LENGTH = 23
SEEDS = range(3)
AS_USERS_HAVE_IT = {("gpt2", 1), ("gemma2", 1), ("gemma4_text", 1), ("qwen3_5_text", 1)}
"""Cases whose numbers are those of a program that is compiled as users have it.

One of each kind of layers: norms with a mean and learned positions; rotations, windows and soft caps; heads of two sizes and
shared keys; the gated delta rule.
"""
SCALINGS = [
    None,
    {"rope_type": "linear", "factor": 2.5},
    {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
]  # fmt: skip


def random_fields(kind, seed):
    """The fields of a small model; seeds 0, 1, 2 are chosen to differ in what matters."""
    draw = random.Random(f"{kind} {seed}")
    tokens = {"eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0 if "gemma" in kind else None}
    tied = bool((seed + draw.randrange(2)) % 2) if seed < 2 else draw.random() < 0.5
    kv_heads, ratio, head = [(1, 3), (3, 1), (2, 5)][seed] + (draw.choice([4, 6, 10]),)
    if kind == "gpt2":
        heads = [3, 5, 7][seed]
        return {
            "vocab_size": draw.randrange(30, 90), "n_embd": heads * draw.choice([3, 5, 8]), "n_head": heads,
            "n_layer": draw.randrange(1, 4), "n_inner": [None, 37, 64][seed], "n_positions": 64,
            "activation_function": ["gelu_new", "gelu", "relu"][seed], "layer_norm_epsilon": [1e-5, 1e-3, 1e-6][seed],
            "tie_word_embeddings": seed != 1, **tokens,
        }  # fmt: skip
    heads = kv_heads * ratio
    fields = {
        "vocab_size": draw.randrange(30, 90), "hidden_size": heads * draw.choice([6, 8]), "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "intermediate_size": draw.randrange(5, 60), "max_position_embeddings": 64,
        "num_hidden_layers": 1 + seed, "rms_norm_eps": draw.choice([1e-6, 1e-3]), "tie_word_embeddings": tied, **tokens,
    }  # fmt: skip
    if kind not in ("olmo2", "olmo3", "smollm3", "qwen2", "modernbert-decoder"):
        fields["head_dim"] = head
    scaling = SCALINGS[(seed + draw.randrange(4)) % 4]
    window = draw.randrange(2, 9)
    if kind in ("gemma3_text", "olmo3", "modernbert-decoder"):
        scaling = SCALINGS[(seed % 2) * (3 if kind == "olmo3" else 1)] or {"rope_type": "default"}
        fields["rope_parameters"] = {
            "full_attention": {**scaling, "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
        }
    else:
        fields["rope_parameters"] = {
            **(scaling or {"rope_type": "default"}),
            "rope_theta": draw.choice([100.0, 10_000.0]),
        }
    if kind in ("llama", "qwen3", "olmo2", "olmo3", "smollm3", "gemma", "modernbert-decoder"):
        fields["attention_bias"] = seed == 1
    if kind == "olmo3":
        fields |= {"sliding_window": window, "num_hidden_layers": [4, 5, 3][seed]}
    if kind == "qwen3_5_text":
        layers, every = [(4, 4), (4, 2), (6, 3)][seed]
        fields |= {"num_hidden_layers": layers, "head_dim": 8, "attention_bias": seed == 1, "pad_token_id": 0}
        fields |= {"layer_types": ["linear_attention" if (i + 1) % every else "full_attention" for i in range(layers)]}
        fields |= {"linear_num_key_heads": [1, 3, 2][seed], "linear_num_value_heads": [3, 3, 4][seed]}
        fields |= {"linear_key_head_dim": [5, 4, 7][seed], "linear_value_head_dim": [6, 3, 7][seed]}
        fields |= {"linear_conv_kernel_dim": [4, 2, 3][seed]}
        share = {"partial_rotary_factor": [0.25, 1.0, 0.5][seed]}
        fields["rope_parameters"] = {"rope_type": "default", "rope_theta": 100.0, **share}
    if kind == "smollm3":
        fields |= {"num_hidden_layers": [4, 3, 5][seed], "mlp_bias": seed == 2, "pad_token_id": 0}
        fields |= [{}, {"no_rope_layers": [0, 1, 0]}, {"use_sliding_window": True, "sliding_window": window}][seed]
    if kind == "modernbert-decoder":
        del fields["num_key_value_heads"], fields["rms_norm_eps"]
        fields |= {
            "norm_eps": [1e-5, 1e-3, 1e-6][seed],
            "norm_bias": seed == 1,
            "mlp_bias": seed == 2,
            "pad_token_id": 0,
        }
        fields |= {"decoder_bias": seed != 1, "local_attention": 2 * window, "num_hidden_layers": [4, 3, 2][seed]}
        fields |= {"classifier_activation": ["gelu", "silu", "gelu_pytorch_tanh"][seed]}
        fields["hidden_size"] = heads * head
    if kind == "llama":
        fields |= {"mlp_bias": seed == 2, "hidden_act": ["silu", "gelu", "gelu_pytorch_tanh"][seed]}
    if kind in ("qwen2", "qwen3") and seed:
        fields |= {"use_sliding_window": True, "sliding_window": window, "max_window_layers": seed - 1}
    if kind == "mistral":
        fields["sliding_window"] = None if seed == 0 else window
    if kind in ("gemma2", "gemma3_text"):
        fields |= {"sliding_window": window, "query_pre_attn_scalar": draw.choice([3, 8, 144])}
        fields |= {"final_logit_softcapping": [3.0, None, 5.0][seed], "num_hidden_layers": [2, 3, 8][seed]}
    if kind == "gemma2":
        fields["attn_logit_softcapping"] = [2.0, 5.0, None][seed]
    if kind.startswith("gemma4"):
        cycle, cycles, shared = [(3, 2, 1), (2, 3, 2), (4, 1, 0)][seed]
        layers = (["sliding_attention"] * (cycle - 1) + ["full_attention"]) * cycles
        fields |= {"num_hidden_layers": len(layers), "layer_types": layers, "sliding_window": window, "head_dim": head}
        fields |= {
            "num_kv_shared_layers": shared * cycle,
            "use_double_wide_mlp": seed == 0,
            "attention_k_eq_v": seed > 0,
        }
        fields |= {"global_head_dim": [12, 8, 6][seed], "num_global_key_value_heads": [None, heads, 2][seed]}
        fields |= {"final_logit_softcapping": [3.0, None, 5.0][seed]}
        full = {"rope_type": "proportional", "partial_rotary_factor": [0.5, 0.25, 1.0][seed], "rope_theta": 5000.0}
        fields["rope_parameters"] = {
            "full_attention": full,
            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
        }
    if kind == "gemma4_text":
        width = [5, 7, 0][seed]
        fields |= {"hidden_size_per_layer_input": width, "vocab_size_per_layer_input": fields["vocab_size"]}
    if kind == "gemma3_text" and seed == 1:
        fields["layer_types"] = ["full_attention", "sliding_attention", "sliding_attention"]
    return fields


def torch_model(kind, fields, seed=0):
    """A model in which every parameter matters, small enough that logits are of size 1."""
    torch.manual_seed(seed)
    model_class = getattr(transformers, FAMILIES[kind].architecture)
    model = model_class(model_class.config_class(**fields, attn_implementation="eager")).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                offset = ("gemma" in kind and "gemma4" not in kind) or kind == "qwen3_5_text"
                around = 0.0 if "bias" in name or offset else 1.0
                parameter.uniform_(around - 0.5, around + 0.5)
            else:
                parameter.normal_(0, 0.2)
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.uniform_(0.5, 1.5)
    return model


def tensors_of(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def config_json(model):
    return {**model.config.to_dict(), "architectures": [type(model).__name__]}


def some_tokens(fields, shape, seed):
    return np.random.default_rng(seed).integers(3, fields["vocab_size"], shape)


def ours(model):
    config, params = decoder_from_huggingface(config_json(model), tensors_of(model))
    return config, build.abstract_model(config)[0], params


CASES = [(kind, seed) for kind in FAMILIES for seed in SEEDS]
MATTERING = [("gemma2", 0), ("gemma2", 1), ("gemma4_text", 1)]
"""With a window, a scaling and both soft caps; with layers of two sizes."""


class Compared(NamedTuple):
    """A model there and here, with the logits, the loss and the gradients of both."""

    model: Any
    config: DecoderConfig
    params: Any
    inputs: np.ndarray
    logits: np.ndarray
    loss: float
    gradients: Any
    expected_logits: np.ndarray
    expected_loss: float


@functools.cache
def compared(kind, seed):
    fields = random_fields(kind, seed)
    model = torch_model(kind, fields, seed)
    config, graphdef, params = ours(model)
    tokens = some_tokens(fields, (2, LENGTH + 1), seed)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]

    def loss(params):
        logits = build.apply(graphdef, params, {"decoder_input_tokens": inputs})
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.asarray(targets)[..., None], axis=-1)
        return -chosen.mean(), logits

    (value, logits), gradients = value_and_gradients(loss, params, as_users=(kind, seed) in AS_USERS_HAVE_IT)
    theirs = model(torch.from_numpy(inputs)).logits
    expected = torch.nn.functional.cross_entropy(theirs.flatten(0, 1), torch.from_numpy(targets).flatten())
    expected.backward()
    return Compared(
        model,
        config,
        params,
        inputs,
        np.asarray(logits),
        float(value),
        gradients,
        theirs.detach().numpy(),
        expected.item(),
    )


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_logits(kind, seed):
    of = compared(kind, seed)
    assert np.abs(of.expected_logits).max() > 0.3
    np.testing.assert_allclose(of.logits, of.expected_logits, rtol=0, atol=1e-4)


# What is drawn changes with `random_fields` alone.
@pytest.mark.parametrize(("kind", "seed"), with_deep(MATTERING, [case for case in CASES if case not in MATTERING]))
def test_windows_and_scalings_that_are_drawn_matter(kind, seed):
    """Or the comparison of logits says nothing of them."""
    of = compared(kind, seed)
    config = of.config
    for change in [
        *([{"sliding_window": None, "local_rope_theta": None}] if config.sliding_window and not config.mixed else []),
        *([{"sliding_window": 2 * LENGTH}, {"local_rope_theta": None}] if config.mixed else []),
        *([{"rope_scaling": None}] if config.effect("rope_scaling") and not all(config.local_layers) else []),
        *([{"attention_softcap": None}] if config.attention_softcap else []),
        *([{"logit_softcap": None}] if config.logit_softcap else []),
    ]:
        other = build.abstract_model(type(config)(**{**vars(config), **change}))[0]
        logits = apply(other, of.params, {"decoder_input_tokens": of.inputs})
        assert np.abs(logits - of.expected_logits).max() > 1e-3, change


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_tensors_and_configuration_come_back_as_they_were(kind, seed):
    model = torch_model(kind, random_fields(kind, seed), seed)
    tensors = tensors_of(model)
    config, params = decoder_from_huggingface(config_json(model), tensors)
    written, back = decoder_to_huggingface(config, params)
    head = "decoder.weight" if kind == "modernbert-decoder" else "lm_head.weight"
    if config.tie_embeddings:
        del tensors[head]
    assert sorted(back) == sorted(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)
    assert config_from_fields(written) == config

    # transformers builds the same model from what is written here
    again = type(model)(type(model.config).from_dict({**written, "attn_implementation": "eager"})).eval()
    missing, unexpected = again.load_state_dict({name: torch.from_numpy(x) for name, x in back.items()}, strict=False)
    assert not unexpected
    assert set(missing) <= ({head} if config.tie_embeddings else set())
    again.tie_weights()
    tokens = torch.from_numpy(some_tokens({"vocab_size": config.vocab_size}, (2, LENGTH), seed))
    with torch.no_grad():
        np.testing.assert_array_equal(again(tokens).logits.numpy(), model(tokens).logits.numpy())


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_loss_and_gradients(kind, seed):
    of = compared(kind, seed)
    assert of.loss == pytest.approx(of.expected_loss, rel=1e-5)
    theirs = {name: p.grad.numpy() for name, p in of.model.named_parameters()}
    theirs |= {
        name: np.zeros(1) for name, _ in of.model.named_buffers() if name.endswith("layer_scalar")
    }  # not trained
    norm = np.sqrt(sum(np.square(g).sum() for g in theirs.values()))
    assert np.sqrt(sum(np.square(g).sum() for g in jax.tree.leaves(of.gradients))) == pytest.approx(norm, rel=1e-4)
    _, expected = decoder_from_huggingface(config_json(of.model), theirs)
    if not of.config.first_norm:  # of which there is no tensor
        for value in expected["layers"]["attention"]["norm"].values():
            value[0] = 0.0
    for (path, a), b in zip(jax.tree.leaves_with_path(of.gradients), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * norm, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("kind", FAMILIES)
def test_greedy_generation(kind):
    fields = random_fields(kind, 2)
    model = torch_model(kind, fields, 1)
    config, graphdef, params = ours(model)
    lengths, steps = np.array([9, 4, 1]), 10
    prompts = some_tokens(fields, (3, 9), 5)
    left = np.zeros_like(prompts)
    for row, length in enumerate(lengths):
        left[row, 9 - length :] = prompts[row, :length]
    expected = model.generate(
        input_ids=torch.from_numpy(left), attention_mask=torch.from_numpy((np.arange(9) >= 9 - lengths[:, None]).astype(int)),
        max_new_tokens=steps, min_new_tokens=steps, do_sample=False, num_beams=1, pad_token_id=0,
    ).numpy()[:, 9:]  # fmt: skip

    prefill = jax.jit(lambda params: build.merge(graphdef, params).prefill(prompts, lengths, steps))
    cache, _, logits = prefill(params)
    step = jax.jit(lambda cache, token: build.merge(graphdef, params).decode_step(cache, token))
    generated = []
    for _ in range(steps):
        token = logits.at[:, config.eos_id].set(-jnp.inf).argmax(-1)
        generated.append(token)
        logits, cache = step(cache, token)
    np.testing.assert_array_equal(np.stack(generated, axis=1), expected)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_preset_sizes(name):
    config = preset(name)
    fields = fields_from_config(config)
    model_class = getattr(transformers, fields["architectures"][0])
    with torch.device("meta"):
        model = model_class(model_class.config_class.from_dict(fields))
    unread = 0 if config.first_norm else config.d_model
    if config.mixed is not None:  # a number a layer, which is no parameter there
        unread = config.num_layers
    assert build.num_params(config) - unread == sum(parameter.numel() for parameter in set(model.parameters()))
    assert config_from_fields(config_json(model)) == config_from_fields(fields)
