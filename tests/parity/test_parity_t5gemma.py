"""The same weights in transformers' PyTorch T5Gemma 1 and 2 and here: logits, loss, gradients, generation, folders, sizes."""

import functools
import json
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, value_and_gradients

from flan_jax.models import build
from flan_jax.models.huggingface import families, reader, writer
from flan_jax.models.huggingface.tensors import params_from_tensors
from flan_jax.models.t5gemma.presets import PRESETS, preset

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

KINDS = ("t5gemma", "t5gemma2")
CLASSES = {"t5gemma": "T5GemmaForConditionalGeneration", "t5gemma2": "T5Gemma2ForConditionalGeneration"}
VISION = {
    "hidden_size": 6, "intermediate_size": 7, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8,
    "patch_size": 4,
}  # fmt: skip
AS_USERS_HAVE_IT = ("t5gemma2", 1)
"""The case whose numbers are of a program that is compiled as users have it."""


def random_fields(kind, seed):
    """The fields of a small model; seeds 0, 1, 2 are chosen to differ in what matters."""
    draw = random.Random(f"{kind} {seed}")
    vocab, window = draw.randrange(30, 90), draw.choice([3, 5, 6])

    def side(number):
        kv_heads, ratio = [(1, 3), (3, 1), (2, 5)][number]
        heads = kv_heads * ratio
        return {
            "vocab_size": vocab, "hidden_size": heads * draw.choice([6, 8]), "num_attention_heads": heads,
            "num_key_value_heads": kv_heads, "head_dim": draw.choice([4, 6, 10]), "intermediate_size": draw.randrange(5, 60),
            "num_hidden_layers": draw.randrange(1, 4), "rms_norm_eps": [1e-6, 1e-3, 1e-5][seed], "sliding_window": window,
            "query_pre_attn_scalar": draw.choice([3, 8, 144]), "max_position_embeddings": 64,
            "final_logit_softcapping": [3.0, None, 5.0][seed], "attn_logit_softcapping": None,
            "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0,
        }  # fmt: skip

    encoder, decoder = side(seed), side((seed + (kind == "t5gemma")) % 3)
    if kind == "t5gemma":
        for one in (encoder, decoder):
            one["attn_logit_softcapping"] = [2.0, None, 5.0][seed]
            one["rope_parameters"] = {"rope_type": "default", "rope_theta": [100.0, 10_000.0, 5000.0][seed]}
        return {"encoder": encoder, "decoder": decoder, "tie_word_embeddings": seed != 2}
    encoder["hidden_size"] = decoder["hidden_size"]
    scaling = {"rope_type": "linear", "factor": 2.5} if seed == 1 else {"rope_type": "default"}
    for one in (encoder, decoder):
        one["rope_parameters"] = {
            "full_attention": {**scaling, "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
        }
        one["layer_types"] = [
            "full_attention" if layer % 2 else "sliding_attention" for layer in range(one["num_hidden_layers"])
        ]
    whole = {"text_config": encoder, "vision_config": VISION, "eoi_token_index": 7, "mm_tokens_per_image": 4}
    return {"encoder": whole, "decoder": decoder, "image_token_index": 8}


def torch_model(kind, seed):
    """A model in which every parameter matters, small enough that logits are of size 1."""
    torch.manual_seed(seed)
    model_class = getattr(transformers, CLASSES[kind])
    model = model_class(model_class.config_class(**random_fields(kind, seed), attn_implementation="eager")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(-0.5, 0.5)
            else:
                parameter.normal_(0, 0.2)
    return model


def ours(model, tensors=None):
    fields = {**model.config.to_dict(), "architectures": [type(model).__name__]}
    config = families.config_from_fields(fields)
    tensors = tensors or {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return config, params_from_tensors(config, families.layout(config), tensors)


def tokens(config, shape, seed):
    return np.random.default_rng(seed).integers(3, config.vocab_size, shape)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_logits_loss_and_gradients(kind, seed):
    model = torch_model(kind, seed)
    config, params = ours(model)
    graphdef, _ = build.abstract_model(config)
    inputs, targets = tokens(config, (3, 21), 0), tokens(config, (3, 14), 2)
    decoder = np.pad(targets[:, :-1], ((0, 0), (1, 0)))  # a row of training; transformers shifts the labels itself
    inputs[0, 4] = 7  # the end of an image, with a vector of its own in a T5Gemma 2
    mask = (np.arange(21) < np.array([21, 13, 2])[:, None]).astype(np.int32)
    # Tokens stay where the mask hides them: the mask alone has to do it.
    batch = {"encoder_input_tokens": inputs, "encoder_segment_ids": mask, "decoder_input_tokens": decoder}

    def loss(params):
        logits = build.apply(graphdef, params, batch)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.asarray(targets)[..., None], axis=-1)
        return -chosen.mean(), logits

    (value, logits), gradients = value_and_gradients(loss, params, as_users=(kind, seed) == AS_USERS_HAVE_IT)
    output = model(
        input_ids=torch.from_numpy(inputs), attention_mask=torch.from_numpy(mask), labels=torch.from_numpy(targets),
        decoder_attention_mask=torch.ones(3, 14, dtype=torch.long),
    )  # fmt: skip
    expected_logits = output.logits.detach().numpy()
    scale = max(1.0, np.abs(expected_logits).max())
    np.testing.assert_allclose(logits, expected_logits, rtol=0, atol=1e-4 * scale)
    expected = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), torch.from_numpy(targets).flatten())
    assert value == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    theirs = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    norm = np.sqrt(sum(np.square(g).sum() for g in theirs.values()))
    assert np.sqrt(sum(np.square(g).sum() for g in jax.tree.leaves(gradients))) == pytest.approx(norm, rel=1e-4)
    _, expected_gradients = ours(model, theirs)
    for (path, a), b in zip(jax.tree.leaves_with_path(gradients), jax.tree.leaves(expected_gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * norm, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_generation(kind):
    model = torch_model(kind, 2)
    config, params = ours(model)
    graphdef, _ = build.abstract_model(config)
    inputs, lengths = tokens(config, (3, 12), 0), np.array([12, 7, 3])
    mask = (np.arange(12) < lengths[:, None]).astype(np.int64)
    expected = model.generate(
        input_ids=torch.from_numpy(inputs), attention_mask=torch.from_numpy(mask), max_new_tokens=11, min_new_tokens=11,
        do_sample=False, num_beams=1, decoder_start_token_id=2,
    ).numpy()[:, 1:]  # fmt: skip

    def step(here, carry, _):
        cache, token = carry
        logits, cache = here.decode_step(cache, token)
        token = logits.at[:, 1].set(-jnp.inf).argmax(-1)
        return (cache, token), token

    @jax.jit
    def written(params):
        here = build.merge(graphdef, params)
        state = here.prefill(inputs, lengths, 11)
        return jax.lax.scan(functools.partial(step, here), (state.cache, state.last), length=11)[1]

    np.testing.assert_array_equal(written(params).T, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_folders(kind, tmp_path):
    """What transformers saves is read here and the reverse; what only images need comes out as it went in."""
    model = torch_model(kind, 0)
    model.save_pretrained(tmp_path / "theirs")
    config, params = reader.load(tmp_path / "theirs")
    assert config == ours(model)[0]
    writer.save(tmp_path / "ours", config, params, carried_from=tmp_path / "theirs")
    again = type(model).from_pretrained(tmp_path / "ours").eval()
    for (name, a), (other, b) in zip(
        sorted(model.state_dict().items()), sorted(again.state_dict().items()), strict=True
    ):
        assert name == other
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=name)
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    if kind == "t5gemma2":
        assert written["encoder"]["vision_config"]["hidden_size"] == 6
    inputs, decoder = tokens(config, (2, 9), 0), tokens(config, (2, 5), 1)
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": decoder}
    with torch.no_grad():
        expected = again(input_ids=torch.from_numpy(inputs), decoder_input_ids=torch.from_numpy(decoder)).logits.numpy()
    logits = apply(build.abstract_model(config)[0], params, batch)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_preset_sizes(name):
    config = preset(name)
    fields = families.fields_from_config(config)
    kind = fields["model_type"]
    fields = {k: v for k, v in fields.items() if k not in ("architectures", "model_type")}
    if kind == "t5gemma2":
        fields["encoder"]["vision_config"] = VISION
    model_class = getattr(transformers, CLASSES[kind])
    with torch.device("meta"):
        model = model_class(model_class.config_class(**fields))
    images = ("model.encoder.vision_tower.", "model.encoder.multi_modal_projector.")
    theirs = {name: p.numel() for name, p in model.named_parameters() if not name.startswith(images)}
    assert build.num_params(config) == sum(theirs.values())
