"""The decoders of Hugging Face transformers: ``config.json`` and tensors, in and out, by the rows of ``families.table``."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.mixed_config import layer_numbers
from flan_jax.models.huggingface.decoder_families.table import FAMILIES
from flan_jax.models.huggingface.family import Family, read_family, write_family
from flan_jax.models.huggingface.tensors import TensorLayout


def wrapped() -> dict[str, str]:
    """Returns the kinds of models with other towers, each with the kind of its language model."""
    return {outer: kind for kind, family in FAMILIES.items() for outer in family.wrapped}


def whole_kinds() -> dict[str, str]:
    """Returns those of ``wrapped`` that go out as what they are, other towers included."""
    return {outer: kind for outer, kind in wrapped().items() if FAMILIES[kind].towers}


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
        outer, kind = kind, wrapped()[kind]
        whole, config = config, {**config["text_config"], "model_type": kind}
        if outer in whole_kinds():
            ends = {"eos_token_id": whole["eos_token_id"]} if whole.get("eos_token_id") is not None else {}
            _check_architecture(whole.get("architectures") or [], FAMILIES[kind])
            return dataclasses.replace(config_from_fields({**config, **ends}, dtype=dtype), family=outer)
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
    if config.family in whole_kinds():
        return _whole_fields(config)
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


def _whole_fields(config: DecoderConfig) -> dict[str, Any]:
    """Writes the ``config.json`` of a model with other towers; what it says of these is carried (``carry_fields``)."""
    kind = wrapped()[config.family]
    text = fields_from_config(dataclasses.replace(config, family=kind))
    if text["model_type"] != kind:
        raise UserError(
            f"The model is no {kind!r} of transformers, which the language model of a {config.family!r} has to be, only a "
            f"{text['model_type']!r}. Set family={text['model_type']!r}, which leaves other towers out."
        )
    del text["architectures"]
    outside = {name: text[name] for name in ("tie_word_embeddings", "pad_token_id", "eos_token_id", "bos_token_id")}
    architecture = FAMILIES[kind].wrapped[config.family]
    return {"architectures": [architecture], "model_type": config.family, "text_config": text, **outside}


def carry_fields(fields: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Adds to the fields of a model with other towers what the file that it was read from says beside its text."""
    if fields["model_type"] in whole_kinds() and source.get("model_type") == fields["model_type"]:
        left_out = {"dtype", "torch_dtype", "transformers_version", "_name_or_path", *fields}
        fields |= {name: value for name, value in source.items() if name not in left_out}


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
_KEYS_AND_VALUES = r"self_attn\.[kv]_(?:proj|norm)\."
_TEXT = "model.language_model."


def _numbers(config: DecoderConfig) -> dict[str, list[int]]:
    """Returns which layers lie in which stack, where there are several."""
    if config.mixed is not None:
        return layer_numbers(config, config.mixed)
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
    whole = kind in whole_kinds()
    family = FAMILIES[wrapped()[kind] if whole else kind]
    towers = family.towers if whole else ()
    base = _TEXT if whole else family.base
    names = {base + n.removeprefix(family.base) if n.startswith(family.base) else n: x for n, x in family.names.items()}
    embedding, head = (next(name for name, ours in names.items() if ours == of) for of in ("embedding", "lm_head"))
    outer = {name.partition(".")[0] + "." for name in names if not name.startswith(base)}
    first_shared = config.num_layers - (config.mixed.shared if config.mixed is not None else 0)

    def unread(name: str) -> bool:  # published files have them of layers, too, that share those of others
        found = re.fullmatch(rf"{re.escape(base)}layers\.(\d+)\.{_KEYS_AND_VALUES}.*", name)
        return found is not None and int(found[1]) >= first_shared

    def canonical_name(name: str) -> str | None:
        if name.endswith(_UNUSED) or name.startswith((*_OTHER_TOWERS, *family.towers)):
            return None
        if not name.startswith(tuple(outer)):
            inner = name.replace(_TEXT, "model.", 1).removeprefix("language_model.")
            name = base + inner.removeprefix(family.base)  # saved without the head, it has no base
        return None if unread(name) else name

    return TensorLayout(
        names,
        family.transposed,
        canonical_name,
        copies={head: embedding} if config.tie_embeddings else {},
        absent=family.absent,
        numbers=_numbers(config),
        carried=lambda name: unread(name) or name.startswith(towers),
    )
