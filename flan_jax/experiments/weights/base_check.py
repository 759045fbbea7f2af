"""Checks that a run's initial weights are those of the model that it configures, with the tokenizer that it reads.

Shapes do not tell: of one shape are models with other rotary frequencies, windows, norms or activations, and
tokenizers that number other words. One comparison serves every kind of base: a Hugging Face folder, an imported
folder, and the folder of a run.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.model_snapshot import CONFIG
from flan_jax.experiments.renamed import by_new_names
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.fetched_run import model_folder
from flan_jax.experiments.weights.base_vocabulary import VocabularyRecord, base_vocabulary, has_tokenizer
from flan_jax.models.config import ModelConfig, config_class
from flan_jax.models.config_difference import START, Difference, difference
from flan_jax.models.decoder.linear_config import LinearAttention
from flan_jax.models.decoder.mixed_config import MixedAttention
from flan_jax.models.huggingface.reader import read_config
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.train.checkpoint import Checkpointer

# Two tokenizers that number these alike number text alike: T5's own file and the fast one made of it, say.
_PROBES = (
    "The quick brown fox jumps over the lazy dog.", "Answer the question below, then explain why:",
    "def f(x):\n    return x[0] + 1.5e-3  # why?", "“Grüße”, señor: naïve façade № 7 costs €12,345.67",
    "Наука и жизнь", "你好，世界！今天天气很好。", "パリはフランスの首都です", "नमस्ते दुनिया", "مرحبا بالعالم", "한국어 문장입니다", "🙂🚀 ok?",
)  # fmt: skip


def check_same_model(folder: Path, config: RunConfig) -> None:
    """Refuses weights that compute something else in the model that the run configures.

    Args:
        folder: with the weights: of Hugging Face, imported, or of a run.
        config: the run.

    Raises:
        UserError: another model; the first field that differs is named with both values.
    """
    theirs, leave_out = base_model(folder)
    if theirs is None:
        return
    if config.on_vocabulary_change == "accept":
        leave_out = START
    found = difference(theirs, config.model, leave_out=leave_out)
    if found:
        raise UserError(f"The weights in {str(folder)!r} {_refusal(found, folder, config)}")


def _refusal(found: Difference, folder: Path, config: RunConfig) -> str:
    vocabulary_record = (folder / CONFIG).is_file()
    remedy = " Or take the model from the folder: --gin_file models/huggingface.gin." if vocabulary_record else ""
    if found.name == "kind":
        return (
            f"are those of {found.theirs}, and the configured model is {found.ours}. Give the run the file of the same "
            f"model.{remedy}"
        )
    shown = _in_gin(found.theirs)
    return (
        f"are of a model with {found.name}={shown}, and the configured model has {_in_gin(found.ours)}. Give the run "
        f"the same value ({type(config.model).__name__}.{found.name}={shown}).{remedy}"
    )


def _in_gin(value: Any) -> str:
    parts = tuple(_PARTS.values())
    return f"@{type(value).__name__}() of {value}" if isinstance(value, parts) else repr(value)


_PARTS: dict[str, Any] = {"rope_scaling": RopeScaling, "linear": LinearAttention, "mixed": MixedAttention}
"""Fields of a model that are configurations of their own."""


def base_model(folder: Path) -> tuple[ModelConfig | None, Collection[str]]:
    """Reads the model of a folder, and which fields the folder does not tell; ``None`` where it tells nothing."""
    manifest = run_files.read_manifest(folder)
    if manifest is not None and manifest["config"].get("model") is not None:
        return model_of(manifest["config"]["model"]), ()
    if (folder / CONFIG).is_file():
        model = read_config(folder)
        if not has_tokenizer(folder):
            return model, START
        vocabulary = load_vocabulary(folder)
        return model.with_start_token(vocabulary.bos_id, vocabulary.adds_bos), ()
    with Checkpointer(folder / run_files.CHECKPOINTS, create=False) as checkpointer:
        saved = checkpointer.config().get("model") if checkpointer.steps() else None
    return (None if saved is None else model_of(saved)), ()


def model_of(saved: Mapping[str, Any]) -> ModelConfig:
    """Makes a model's configuration of the JSON that a run writes of it.

    Raises:
        UserError: it has a field that is not known here, as of another version.
    """
    kind: Any = config_class(saved)
    named = by_new_names(saved, kind)
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in named.items()}
    for name, part in _PARTS.items():
        if isinstance(fields.get(name), Mapping):
            fields[name] = part(**fields[name])
    strange = sorted(set(fields) - {field.name for field in dataclasses.fields(kind)})
    if strange:
        raise UserError(f"The run's model has {strange[0]!r}, which this version does not know. Use the run's version.")
    return kind(**fields)


def check_same_vocabulary(
    config: RunConfig, vocabulary: Vocabulary, *, log: Callable[[str], None] = lambda line: None
) -> None:
    """Refuses weights that were trained on other ids than the run's tokenizer gives.

    Args:
        config: the run; ``on_vocabulary_change`` may accept another tokenizer.
        vocabulary: of the run.
        log: told where nothing tells the base's tokenizer, and where another one is accepted.

    Raises:
        UserError: the base has another tokenizer.
    """
    if not config.initial_checkpoint:
        return
    theirs = base_vocabulary(model_folder(config.initial_checkpoint, weights=False))
    if theirs is None:
        log(
            f"nothing in {config.initial_checkpoint!r} says which tokenizer its weights were trained with; "
            f"{vocabulary.name!r} ({vocabulary.size:,} ids) is taken for the same"
        )
        return
    if theirs.fingerprint == vocabulary.fingerprint() or _numbers_alike(theirs, vocabulary):
        return
    differ = (
        f"the weights in {config.initial_checkpoint!r} were trained with the tokenizer {theirs.name!r} ({theirs.size:,} "
        f"ids), and this run reads text with {vocabulary.name!r} ({vocabulary.size:,} ids)"
    )
    if config.on_vocabulary_change == "accept":
        log(f"{differ}, as run.on_vocabulary_change='accept' asks for")
        return
    raise UserError(
        f"{differ[0].upper()}{differ[1:]}, which numbers it otherwise: every embedding would stand for another piece. Name "
        "the first with --gin.VOCABULARY, or take the second on purpose: --gin.run.on_vocabulary_change=accept."
    )


def _numbers_alike(theirs: VocabularyRecord, ours: Vocabulary) -> bool:
    """Tells whether two tokenizers of other files, or with other special tokens, give text the same ids."""
    try:
        other = load_vocabulary(theirs.place) if theirs.place else None
    except UserError:
        return False
    if other is None or other.fingerprint() != theirs.fingerprint:
        return False  # no longer the one that the record means
    return other.encode_batch(_PROBES) == ours.encode_batch(_PROBES)
