"""Adapters and prompts in PEFT and here: the same logits from the same files, in both directions."""

import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from flan_jax.models.build import abstract_model, apply, logical_axes
from flan_jax.models.huggingface import families, peft, writer
from flan_jax.models.peft.adapters import attach, join, split
from flan_jax.models.peft.config import TuningConfig
from flan_jax.testing.models import random_batch, random_params, tiny_decoder, tiny_t5

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
theirs = pytest.importorskip("peft")


def decoder(**fields):
    return tiny_decoder(**{"d_model": 24, **fields})  # in which the heads go, as transformers demands of some


MODELS = {
    "t5": tiny_t5(dropout_rate=0.0),
    "t5_relu": tiny_t5(dropout_rate=0.0, mlp_activation="relu", tie_embeddings=True),
    "llama": decoder(family="llama"),
    "gpt2": decoder(
        family="gpt2", norm="layer", position="learned", num_kv_heads=6, d_head=5, d_model=30, attention_bias=True,
        output_bias=True, mlp_bias=True, mlp_activation="gelu_tanh", tie_embeddings=True, norm_epsilon=1e-5,
    ),
    "qwen2": decoder(family="qwen2", attention_bias=True),
    "qwen3": decoder(family="qwen3", qk_norm="head"),
    "mistral": decoder(family="mistral", sliding_window=4),
    "gemma": decoder(
        family="gemma", norm_offset=True, embed_scale=True, tie_embeddings=True, mlp_activation="gated-gelu_tanh"
    ),
    "gemma2": decoder(
        family="gemma2", norm_offset=True, embed_scale=True, tie_embeddings=True, mlp_activation="gated-gelu_tanh",
        norm_placement="both", attention_softcap=5.0, logit_softcap=7.0, sliding_window=4,
        window_pattern=(True, False), query_scale=0.25,
    ),
    "olmo2": decoder(family="olmo2", norm_placement="post", qk_norm="full"),
}  # fmt: skip
KERNELS = {"t5": ["q", "v", "wi_1", "wo"], "t5_relu": ["k", "wi"], "gpt2": ["c_attn", "c_fc"]}
TOKENS = np.array([[3, 9, 8, 30, 31, 17], [5, 40, 2, 3, 11, 12]], np.int32)
TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}


def torch_model(config, params):
    with tempfile.TemporaryDirectory() as folder:
        writer.save(folder, config, params)
        fields = families.fields_from_config(config)
        model_class = getattr(transformers, fields["architectures"][0])
        return model_class.from_pretrained(folder, attn_implementation="eager").eval()


def their_logits(config, model):
    with torch.no_grad():
        if config.decoder_only:
            found = model(input_ids=torch.tensor(TOKENS, dtype=torch.long)).logits.numpy()
            return found[:, -TOKENS.shape[1] :]
        batch = {name: torch.tensor(value, dtype=torch.long) for name, value in random_batch(config).items()}
        return model(
            input_ids=batch["encoder_input_tokens"],
            attention_mask=batch["encoder_segment_ids"],
            decoder_input_ids=batch["decoder_input_tokens"],
        ).logits.numpy()


jitted = jax.jit(apply, static_argnums=0)


def our_logits(config, params):
    if config.decoder_only:
        return jitted(abstract_model(config)[0], params, {"decoder_input_tokens": TOKENS})
    batch = random_batch(config)
    encoder = {name: batch[name] for name in ("encoder_input_tokens", "encoder_segment_ids", "decoder_input_tokens")}
    return jitted(abstract_model(config)[0], params, encoder)


def assert_ours_is(config, params, folder, expected, plain):
    tuning, trained = peft.load(folder, config)
    whole = join(trained, split(params, tuning)[1], tuning)
    found = our_logits(config, whole)
    np.testing.assert_allclose(found, expected, **TOLERANCE)
    assert np.abs(found - plain).max() > 0.02
    return tuning, trained


@pytest.mark.parametrize("kind", MODELS)
def test_lora_goes_both_ways(kind, tmp_path):
    config = MODELS[kind]
    params = random_params(config)
    plain = their_logits(config, torch_model(config, params))
    np.testing.assert_allclose(our_logits(config, params), plain, **TOLERANCE)
    torch.manual_seed(0)
    chosen = theirs.LoraConfig(
        r=3, lora_alpha=5, target_modules=KERNELS.get(kind, ["q_proj", "v_proj", "down_proj"]),
        init_lora_weights=False, fan_in_fan_out=kind == "gpt2",
    )  # fmt: skip
    adapted = theirs.get_peft_model(torch_model(config, params), chosen).eval()
    adapted.save_pretrained(tmp_path / "theirs")
    expected = their_logits(config, adapted)
    tuning, trained = assert_ours_is(config, params, tmp_path / "theirs", expected, plain)
    assert tuning.lora_rank == 3

    peft.save(tmp_path / "ours", config, tuning, trained, base="base")
    again = theirs.PeftModel.from_pretrained(torch_model(config, params), tmp_path / "ours").eval()
    np.testing.assert_allclose(their_logits(config, again), expected, **TOLERANCE)


@pytest.mark.parametrize("scaling", ["alpha/r", "alpha/sqrt(r)"])
@pytest.mark.parametrize(
    ("kind", "patterns"),
    [
        ("t5", ("encoder/.*/q", "decoder/.*cross_attention/.*", "wo")),
        ("llama", (".*",)),
        ("gpt2", ("q",)),
        ("gpt2", ("q", "v", "o")),
        ("gpt2", (".*",)),
    ],
)
def test_what_was_trained_here_computes_the_same_there(kind, patterns, scaling, tmp_path):
    config = MODELS[kind]
    params = random_params(config)
    tuning = TuningConfig(lora_rank=2, lora_alpha=0.7, lora_patterns=patterns, lora_scaling=scaling)
    trained = split(attach(params, logical_axes(config), tuning, jax.random.key(0)), tuning)[0]
    rng = np.random.default_rng(0)
    trained = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), trained)
    ours = our_logits(config, join(trained, split(params, tuning)[1], tuning))
    peft.save(tmp_path, config, tuning, trained)
    adapted = theirs.PeftModel.from_pretrained(torch_model(config, params), tmp_path).eval()
    count = sum(parameter.numel() for name, parameter in adapted.named_parameters() if "lora_A" in name)
    assert count == sum(leaf.size for path, leaf in traverse_util.flatten_dict(trained).items() if path[-1] == "lora_a")
    np.testing.assert_allclose(ours, their_logits(config, adapted), atol=2e-4, rtol=1e-3)
    merged = adapted.merge_and_unload().eval()
    np.testing.assert_allclose(ours, their_logits(config, merged), atol=2e-4, rtol=1e-3)


def test_ranks_and_scales_of_their_own(tmp_path):
    config = MODELS["llama"]
    params = random_params(config)
    torch.manual_seed(1)
    chosen = theirs.LoraConfig(
        r=2, lora_alpha=3, target_modules=["q_proj", "o_proj", "up_proj"], layers_to_transform=[0, 2],
        rank_pattern={"o_proj": 4, "layers.2.self_attn.q_proj": 1}, alpha_pattern={"up_proj": 9},
        init_lora_weights=False, use_rslora=True, lora_dropout=0.3,
    )  # fmt: skip
    adapted = theirs.get_peft_model(torch_model(config, params), chosen).eval()
    adapted.save_pretrained(tmp_path)
    plain = our_logits(config, params)
    tuning, trained = assert_ours_is(config, params, tmp_path, their_logits(config, adapted), plain)
    assert (tuning.lora_rank, tuning.lora_scaling) == (4, "alpha/sqrt(r)")
    assert tuning.lora_patterns == ("layers/attention/o", "layers/attention/q", "layers/mlp/wi_1")
    assert not trained["layers"]["attention"]["q"]["lora_a"][1].any()


@pytest.mark.parametrize("kind", MODELS)
def test_prompts_go_both_ways(kind, tmp_path):
    config = MODELS[kind]
    params = random_params(config)
    torch.manual_seed(0)
    chosen = theirs.PromptTuningConfig(
        task_type="CAUSAL_LM" if config.decoder_only else "SEQ_2_SEQ_LM", num_virtual_tokens=4,
        num_transformer_submodules=1,
    )  # fmt: skip
    prompted = theirs.get_peft_model(torch_model(config, params), chosen).eval()
    prompted.save_pretrained(tmp_path / "theirs")
    expected = their_logits(config, prompted)
    plain = our_logits(config, params)
    tuning, trained = assert_ours_is(config, params, tmp_path / "theirs", expected, plain)
    peft.save(tmp_path / "ours", config, tuning, trained)
    again = theirs.PeftModel.from_pretrained(torch_model(config, params), tmp_path / "ours").eval()
    np.testing.assert_allclose(their_logits(config, again), expected, **TOLERANCE)
