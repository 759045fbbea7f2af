"""Rotary positions in a ``config.json``: bases and scalings, as transformers 4 and 5 write them."""

from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError, unknown
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.config_fields import FieldPart, FieldReader
from flan_jax.models.ops.rope import RopeScaling

_SCALING = {  # transformers' name: ours
    "factor": "factor",
    "original_max_position_embeddings": "original_max_positions",
    "low_freq_factor": "low_frequency_factor",
    "high_freq_factor": "high_frequency_factor",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "attention_factor": "attention_factor",
    "truncate": "truncate",
    "partial_rotary_factor": "share",
}
_SCALING_FIELDS = {
    "linear": ("factor",),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor", "truncate"),
    "proportional": ("factor", "partial_rotary_factor"),
}


def _read_scaling(parameters: Mapping[str, Any], longest: int | None) -> RopeScaling | None:
    """Reads the scaling in ``rope_scaling`` (or ``rope_parameters`` without its base)."""
    left = {name: value for name, value in parameters.items() if value is not None}
    old, kind = left.pop("type", "default"), left.pop("rope_type", None)
    kind = kind or old
    if left.get("partial_rotary_factor") == 1:
        del left["partial_rotary_factor"]
    if kind != "default" and kind not in _SCALING_FIELDS:
        raise unknown("rope_type in config.json", str(kind), ["default", *_SCALING_FIELDS])
    fields = _SCALING_FIELDS.get(kind, ())
    values = {ours: left.pop(theirs) for theirs, ours in _SCALING.items() if theirs in fields and theirs in left}
    left.pop("original_max_position_embeddings", None)  # says nothing where it is not asked for
    if left:
        name, value = next(iter(left.items()))
        raise UserError(
            f"config.json: the rotary positions have {name}={value!r}, which has no meaning here for type {kind!r}."
        )
    if kind == "default":
        return None
    if "factor" not in values and kind != "proportional":
        raise UserError(f"config.json: rotary positions of type {kind!r} need a 'factor'.")
    if longest is not None and "original_max_position_embeddings" in fields:
        values.setdefault("original_max_positions", longest)
    return RopeScaling(kind, **{"factor": 1.0, **{name: _number(value) for name, value in values.items()}})


def _number(value: Any) -> Any:
    return value if isinstance(value, bool | int) else float(value)


def _write_scaling(scaling: RopeScaling | None) -> dict[str, Any]:
    if scaling is None:
        return {"rope_type": "default"}
    fields = {theirs: getattr(scaling, _SCALING[theirs]) for theirs in _SCALING_FIELDS[scaling.kind]}
    if scaling.kind == "proportional" and scaling.factor == 1:
        del fields["factor"]  # a key that transformers does not expect there, though it reads it
    return {"rope_type": scaling.kind, **{name: value for name, value in fields.items() if value is not None}}


def _read_rope(given: FieldReader) -> dict[str, Any]:
    new, old = given["rope_parameters"] or {}, given["rope_scaling"]
    _check_one_rope(given, new, old or {})
    parameters = dict(old or new)
    theta = parameters.pop("rope_theta", given["rope_theta"] or 10_000.0)
    longest = given["max_position_embeddings"]
    return {"rope_theta": float(theta), "rope_scaling": _read_scaling(parameters, longest)}


def _check_one_rope(given: FieldReader, new: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    """Refuses a file that gives two bases, or two scalings."""
    tables = {name: table for name, table in (("rope_parameters", new), ("rope_scaling", old)) if table}
    _check_same(
        {
            "rope_theta": given.get("rope_theta"),
            **{f"{name}.rope_theta": table.get("rope_theta") for name, table in tables.items()},
        }
    )
    _check_same({name: _spelled(table) for name, table in tables.items()})


def _check_same(said: Mapping[str, Any]) -> None:
    """Refuses fields that mean the same and differ, as where one of them was edited.

    transformers 4 reads ``rope_theta`` and ``rope_scaling``, transformers 5 ``rope_parameters`` first.
    """
    told = {where: value for where, value in said.items() if value is not None}
    first = next(iter(told), "")
    for where, value in told.items():
        if value != told[first]:
            raise UserError(
                f"config.json: {first} is {told[first]!r}, but {where} is {value!r}, and programs differ in which they read. "
                "Give both the same value, or leave one out."
            )


def _spelled(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a table of rotary positions without its base, its kind under the newer name."""
    left = {name: value for name, value in parameters.items() if value is not None and name != "rope_theta"}
    kind = left.pop("type", "default")
    return {"rope_type": kind, **left}


def _write_rope(config: DecoderConfig) -> dict[str, Any]:
    scaling = _write_scaling(config.rope_scaling)
    return {
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling if config.rope_scaling else None,
        "rope_parameters": {**scaling, "rope_theta": config.rope_theta},
    }


ROPE = FieldPart(_read_rope, _write_rope)
"""The same positions in all layers."""


def _read_rope_by_kind(given: FieldReader, names: tuple[str, str], bases: tuple[float, float | None]) -> dict[str, Any]:
    new = given["rope_parameters"] or {}
    far, near = dict(new.get("full_attention") or {}), dict(new.get("sliding_attention") or {})
    of_all, of_local = names
    full, sliding = "rope_parameters.full_attention", "rope_parameters.sliding_attention"
    _check_same({of_all: given.get(of_all), f"{full}.rope_theta": far.get("rope_theta")})
    _check_same({of_local: given.get(of_local) if of_local else None, f"{sliding}.rope_theta": near.get("rope_theta")})
    if far and given["rope_scaling"]:
        _check_same({full: _spelled(far), "rope_scaling": _spelled(given["rope_scaling"])})
    far |= given["rope_scaling"] or {}
    theta = far.pop("rope_theta", given[of_all] or bases[0])
    local = near.pop("rope_theta", (given[of_local] if of_local else None) or bases[1] or theta)
    strange = sorted(set(new) - {"full_attention", "sliding_attention"})
    if strange:
        raise UserError(f"config.json: rope_parameters has {strange[0]!r} beside full_attention and sliding_attention.")
    longest = given["max_position_embeddings"]
    if _read_scaling(near, longest) is not None:
        raise UserError("config.json scales the rotary positions of layers with a window, which is not supported.")
    return {
        "rope_theta": float(theta),
        "local_rope_theta": float(local),
        "rope_scaling": _read_scaling(far, longest),
    }


def _write_rope_by_kind(config: DecoderConfig, names: tuple[str, str]) -> dict[str, Any]:
    scaling, local = _write_scaling(config.rope_scaling), config.local_rope_theta or config.rope_theta
    return {
        names[0]: config.rope_theta,
        **({names[1]: local} if names[1] else {}),
        # Where the base has another name, older files had no scaling, and newer readers would scale both kinds of layers.
        **({"rope_scaling": scaling if config.rope_scaling else None} if names[0] == "rope_theta" else {}),
        "rope_parameters": {
            "full_attention": {**scaling, "rope_theta": config.rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": local},
        },
    }


def rope_by_kind(
    of_all: str = "rope_theta",
    of_local: str = "",
    *,
    base: float = 10_000.0,
    local_base: float | None = None,
) -> FieldPart:
    """Creates the part for files that name positions by the kind of layer, with the window or without.

    Args:
        of_all: the older name of the base.
        of_local: that of the base in layers with the window; "" where there was none.
        base: what the class assumes.
        local_base: what it assumes in layers with the window; ``None`` for the same.
    """
    names = (of_all, of_local)
    return FieldPart(
        lambda given: _read_rope_by_kind(given, names, (base, local_base)),
        lambda config: _write_rope_by_kind(config, names),
    )


ROPE_BY_KIND = rope_by_kind("rope_theta", "rope_local_base_freq", base=1_000_000.0, local_base=10_000.0)
"""A base of their own in the layers with a window (Gemma 3)."""
