"""The decoders of Hugging Face transformers: ``config.json`` and tensors, in and out, by the rows of ``families.table``."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.decoder_families.table import FAMILIES
from flan_jax.models.huggingface.family import Family, read_family, write_family
from flan_jax.models.huggingface.tensors import TensorLayout


def wrapped() -> dict[str, str]:
    """Returns the kinds of models with other towers, each with the kind of its language model."""
    return {outer: kind for kind, family in FAMILIES.items() for outer in family.wrapped}


# What our configuration has and no config.json tells.
_OURS_ALONE = ("dtype", "remat", "attention", "dropout_rate", "pad_id", "reads_start", "family")


def config_from_fields(config: Mapping[str, Any], *, dtype: str = "float32") -> DecoderConfig:
    """Reads the configuration in a ``config.json``.

    Args:
        config: the parsed file.
        dtype: the compute type, which is ours to choose.

    Raises:
        UserError: another kind of model, a missing size, or a field whose effect is unknown here.
    """
    kind = config.get("model_type")
    if kind in wrapped() and isinstance(config.get("text_config"), Mapping):
        # Published with a vision tower; its language model is one like the others.
        kind = wrapped()[kind]
        config = {**config["text_config"], "model_type": kind}
    if kind not in FAMILIES:
        raise unknown("model_type", str(kind), FAMILIES, remedy="It stands in config.json.")
    family = FAMILIES[kind]
    _check_architecture(config.get("architectures") or [], family)
    return read_family(family, kind, config, dtype=dtype)


def fields_from_config(config: DecoderConfig) -> dict[str, Any]:
    """Writes the ``config.json`` that lets transformers (4 or 5) compute what this model does.

    A family of which transformers refuses the shape gives way to another one that computes the same.

    Raises:
        UserError: no family has this shape, or not the one that ``config.family`` names.
    """
    if config.prefix_lm:
        raise UserError(
            "A prefix model cannot be exported: in transformers its inputs would be read in one direction only. "
            "Set prefix_lm=False to export the weights as those of a causal model."
        )
    if config.family and config.family not in FAMILIES:
        raise unknown("family", config.family, FAMILIES)
    kinds = [config.family] if config.family else list(FAMILIES)
    lossy_fields = {kind: _lossy_fields(config, kind) for kind in kinds}
    for kind in kinds:
        if not lossy_fields[kind]:
            return write_family(FAMILIES[kind], kind, config)
    if config.family:
        others = [kind for kind in FAMILIES if not _lossy_fields(config, kind)]
        if others and not _lossy_fields(config, config.family, loadable=False):
            return write_family(
                FAMILIES[others[0]], others[0], config
            )  # the same model by a name under which transformers loads it
        remedy = f"Set family={others[0]!r}, which has it so." if others else "No other family has it so either."
        raise UserError(
            f"The model is no {config.family!r} of transformers: {lossy_fields[config.family][0]}. {remedy}"
        )
    nearest = min(lossy_fields, key=lambda kind: len(lossy_fields[kind]))
    raise UserError(
        f"No family of transformers has this shape; the nearest is {nearest!r}, but {'; '.join(lossy_fields[nearest][:3])}."
    )


def _lossy_fields(config: DecoderConfig, kind: str, *, loadable: bool = True) -> list[str]:
    """Lists what is lost when the configuration is written as one of this kind and read again.

    Args:
        config: of the model.
        kind: the family.
        loadable: count it as lost that transformers refuses what is written.
    """
    if loadable and FAMILIES[kind].needs_even_heads and config.d_model % config.num_heads:
        heads = f"d_model={config.d_model} is no multiple of num_heads={config.num_heads}"
        refused = f"{heads}, and transformers refuses such a {kind}, whatever its head_dim"
        return [*_lossy_fields(config, kind, loadable=False), refused]
    ours = dict(_effects(config))
    try:
        theirs = dict(_effects(read_family(FAMILIES[kind], kind, write_family(FAMILIES[kind], kind, config))))
    except UserError as error:  # it has no word for something: as far away as can be
        return [f"it has no such value. {error}", *ours]
    return [f"{name} is {ours[name]!r}, there {theirs[name]!r}" for name in ours if ours[name] != theirs[name]]


def _effects(config: DecoderConfig) -> Iterator[tuple[str, Any]]:
    """Yields the fields that a config.json can express, each in the canonical form that equal models share."""
    for field in dataclasses.fields(config):
        if field.name not in _OURS_ALONE:
            yield field.name, config.effect(field.name)


def _check_architecture(architectures: list[str], family: Family) -> None:
    for name in architectures:
        if name not in (family.architecture, *family.wrapped.values()) and not name.endswith("Model"):
            known = [row.architecture for row in FAMILIES.values()]
            hint = did_you_mean(name, known)
            raise UserError(f"config.json has the architecture {name!r}; {family.architecture!r} is read.{hint}")


_UNUSED = ("rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")  # constants that older files carry
_OTHER_TOWERS = (
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
    "model.visual.",
    "mtp.",
)


def _numbers(config: DecoderConfig) -> dict[str, list[int]]:
    """Returns which layers lie in which stack, where there are two."""
    if config.linear is None:
        return {}
    every, layers = config.linear.every, range(config.num_layers)
    return {
        "linear": [layer for layer in layers if (layer + 1) % every],
        "layers": [layer for layer in layers if not (layer + 1) % every],
    }


def layout(config: DecoderConfig) -> TensorLayout:
    """Returns the tensor layout of the model's family; without one, of the first of its shape."""
    kind = config.family or fields_from_config(config)["model_type"]
    family = FAMILIES[kind]
    embedding, head = (
        next(name for name, ours in family.names.items() if ours == of) for of in ("embedding", "lm_head")
    )
    outer = {name.partition(".")[0] + "." for name in family.names if not name.startswith(family.base)}

    def canonical_name(name: str) -> str | None:
        if name.endswith(_UNUSED) or name.startswith(_OTHER_TOWERS):
            return None
        name = name.replace("model.language_model.", "model.", 1).removeprefix("language_model.")
        return name if name.startswith((family.base, *outer)) else family.base + name  # saved without the head

    return TensorLayout(
        family.names,
        family.transposed,
        canonical_name,
        copies={head: embedding} if config.tie_embeddings else {},
        absent=family.absent,
        numbers=_numbers(config),
    )
