"""Types of the fields of a ``config.json``, checked before anything reads them."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flan_jax.errors import UserError

Holds = Callable[[Any], bool]

_MOST = 2**31 - 1
_MOST_LAYERS = 100_000


def check_kinds(fields: Mapping[str, Any]) -> None:
    """Checks the types of all fields; a UserError names the first wrong one. ``null`` passes."""
    for name, value in fields.items():
        if value is None and name not in _NEVER_NULL:
            continue
        for what, holds in _RULES.get(name, ()):
            if not holds(value):
                shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:80]}…"
                raise UserError(f"config.json: {name} is {shown}; it has to be {what}.")
    for name in ("rope_parameters", "rope_scaling"):
        _check_rope(name, fields.get(name))


def _check_rope(where: str, value: Any) -> None:
    """Checks a table of rotary positions, or one for each kind of layer."""
    for name, inner in ({} if value is None else value).items():
        path = f"{where}.{name}"
        if name.endswith("_attention") and isinstance(inner, Mapping):
            _check_rope(path, inner)
            continue
        what, holds = _ROPE.get(name, _ANYTHING)
        if (inner is not None or name == "rope_theta") and not holds(inner):
            raise UserError(f"config.json: {path} is {inner!r}; it has to be {what}.")


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) <= _MOST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _MOST and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_ids(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_whole, value)))


def _rules(what: str, holds: Holds, names: Iterable[str]) -> dict[str, list[tuple[str, Holds]]]:
    return {name: [(what, holds)] for name in names}


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


_ANYTHING: tuple[str, Holds] = ("anything", lambda value: True)  # a name that is not known is refused later, as such
_ROPE: dict[str, tuple[str, Holds]] = {
    **dict.fromkeys(("rope_type", "type"), ("a text", _is_text)),
    **dict.fromkeys(("full_attention", "sliding_attention"), ("an object", _is_table)),
    **dict.fromkeys(
        ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow",
         "attention_factor", "partial_rotary_factor"),
        ("a number", _is_number),
    ),
    "rope_theta": ("a number above 0", _is_positive),
    "truncate": ("true or false", lambda value: isinstance(value, bool)),
}  # fmt: skip
_NEVER_NULL = ("feed_forward_proj", "query_pre_attn_scalar")
_DEPTHS = ("num_layers", "num_decoder_layers", "num_hidden_layers", "n_layer")
_RULES: dict[str, list[tuple[str, Holds]]] = {
    **_rules("a text", _is_text, (
        "model_type", "feed_forward_proj", "hidden_act", "hidden_activation", "activation_function",
    )),
    **_rules("a list of texts", _is_texts, ("architectures", "layer_types")),
    **_rules("an object", _is_table, ("rope_parameters", "rope_scaling")),
    **_rules("a token id, or a list of them", _is_ids, ("eos_token_id", "bos_token_id", "pad_token_id")),
    **_rules("a token id", _is_whole, ("decoder_start_token_id",)),
    **_rules("a whole number", _is_whole, (
        "vocab_size", "d_model", "d_kv", "d_ff", "relative_attention_num_buckets", "relative_attention_max_distance",
        "hidden_size", "intermediate_size", "num_key_value_heads", "head_dim", "max_position_embeddings", "n_embd",
        "n_inner", "n_positions", "sliding_window", "sliding_window_pattern", "max_window_layers",
    )),
    **_rules("a whole number of at least 1", lambda value: _is_whole(value) and value >= 1, (
        "num_heads", "num_attention_heads", "n_head",
    )),
    **_rules(f"a whole number from 1 to {_MOST_LAYERS:,}", lambda value: _is_whole(value) and 1 <= value <= _MOST_LAYERS, _DEPTHS),
    **_rules("a number", _is_number, (
        "layer_norm_epsilon", "rms_norm_eps", "initializer_factor", "initializer_range", "dropout_rate", "resid_pdrop",
        "embd_pdrop", "attn_pdrop", "attention_dropout", "attn_logit_softcapping", "final_logit_softcapping",
    )),
    **_rules("a number above 0", _is_positive, (
        "rope_theta", "rope_local_base_freq", "query_pre_attn_scalar",
    )),
}  # fmt: skip
