"""A run's weights as a Hugging Face folder: weights, configuration, tokenizer, and a model card."""

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from flan_jax.data.chat.templates import load_chat_template
from flan_jax.data.prepare.config import input_end_ids
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError, unknown
from flan_jax.experiments.model_snapshot import PRETRAINED, carried_folder, copy_description
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.weights import usage_snippet
from flan_jax.experiments.weights.base_check import model_of
from flan_jax.experiments.weights.export_adapter import ExportedAdapter, MergedParams, export_adapter, tuning_saved
from flan_jax.experiments.weights.initial import allows_nonfinite
from flan_jax.experiments.weights.model_card import model_card
from flan_jax.experiments.weights.pretrained import run_of_folder
from flan_jax.experiments.weights.usage_snippet import UsageSnippet
from flan_jax.experiments.weights.verify import CHECK_LOGITS_UP_TO, TOLERANCE, largest_difference, value_difference
from flan_jax.files import atomic_write_text, check_new_dir, new_dir
from flan_jax.models.build import ModelConfig, num_params
from flan_jax.models.huggingface import families, writer
from flan_jax.models.huggingface import reader as huggingface
from flan_jax.models.huggingface.safetensors_files import FLOATS, Tensor
from flan_jax.models.huggingface.tensors import TensorPlace, join, places, shapes_of
from flan_jax.train.checkpoint_stream import StoredParams

GENERATION = "generation_config.json"
CARD = "README.md"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "spiece.model", "tokenizer.model")

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Exported:
    """The outcome of an export.

    Attributes:
        run: the run's folder.
        folder: what was written.
        step: the checkpoint's.
        model_type: transformers' name of the family.
        parameters: numbers in the weights.
        dtype: of the weights in the files.
        files: the files of weights.
        tokenizer: the tokenizer's files; none where the vocabulary has no files.
        checked: ``logits`` where the written model was run beside the run's, ``tensors`` where each number was
            compared, as the model is too large to be held twice.
        largest_difference: of what was compared; the run's weights are rounded to ``dtype`` for it.
        seconds: it took.
    """

    run: str
    folder: str
    step: int
    model_type: str
    parameters: int
    dtype: str
    files: tuple[str, ...]
    tokenizer: tuple[str, ...]
    checked: str
    largest_difference: float
    seconds: float


def export_run(
    model_dir: str | Path,
    destination: str | Path,
    *,
    step: int | None = None,
    dtype: str = "float32",
    max_shard_bytes: int = writer.MAX_SHARD_BYTES,
    ema: bool = False,
    log: Log = lambda line: None,
) -> Exported:
    """Writes a folder that transformers' ``from_pretrained`` loads.

    One tensor is held at a time (of a run that trained here, one parameter with all its layers). The folder has
    its name when all is written and compared with the checkpoint.

    Args:
        model_dir: a run's folder, or an imported one.
        destination: a folder that is not there yet.
        step: a saved step; ``None`` for the newest.
        dtype: of the weights in the files.
        max_shard_bytes: the largest file.
        ema: write the average of the trained weights (``run.ema_decay``) in their place.
        log: told in a sentence what begins.

    Raises:
        UserError: no such run or step, a model that transformers does not have, or the destination is there.
    """
    started = time.monotonic()
    run, destination = Path(model_dir).expanduser(), Path(destination).expanduser()
    if dtype not in writer.DTYPES:
        raise unknown("dtype", dtype, writer.DTYPES)
    if not (run / run_files.CHECKPOINTS).is_dir():
        raise UserError(
            f"{str(model_dir)!r} has no folder `checkpoints`. Give the MODEL_DIR of a run, or an imported folder."
        )
    check_new_dir(destination)
    stored: StoredParams | MergedParams = StoredParams(run / run_files.CHECKPOINTS, step, ema=ema)
    config = saved_model(run, stored)
    if isinstance(stored, StoredParams) and tuning_saved(stored).partial:
        log("adding what was trained to the weights below it")
        stored = MergedParams(run, stored, config)
    fields = {**families.fields_from_config(config), "torch_dtype": dtype}
    if config.decoder_only and config.row_start_id is not None and stored.run_config.get("model") is not None:
        fields["bos_token_id"] = config.row_start_id  # a row of training began so, whatever the vocabulary has
    _check_whole(stored, config)
    carried = _carried(run, config, fields)
    with new_dir(destination) as written:
        log(f"writing {num_params(config):,} parameters of step {stored.step} in {dtype}")
        if carried:
            log(f"and {len(carried)} tensors that the model does not use, as they came in")
        files = _write_weights(written, config, stored, dtype, max_shard_bytes, carried)
        tokenizer = _copy_beside(run, written)
        writer.write_json(written / huggingface.CONFIG, fields)
        if not (written / GENERATION).is_file():
            writer.write_json(written / GENERATION, _generation(fields))
        _name_ends(written / GENERATION, config)
        asking = usage_snippet.code(written, *_use(run, written, config)) if tokenizer else None
        card = model_card(run, stored.step, config, destination.name, asking)
        atomic_write_text(written / CARD, card)
        checked, worst = _check(written, config, stored, dtype, log)
    return Exported(
        run=str(model_dir),
        folder=str(destination),
        step=stored.step,
        model_type=fields["model_type"],
        parameters=num_params(config),
        dtype=dtype,
        files=tuple(path.name for path in files),
        tokenizer=tokenizer,
        checked=checked,
        largest_difference=worst,
        seconds=round(time.monotonic() - started, 2),
    )


def export_run_adapter(
    model_dir: str | Path, destination: str | Path, *, step: int | None = None, ema: bool = False
) -> ExportedAdapter:
    """Writes what a run trained beside its model, adapters or a prompt, as a folder that PEFT loads.

    Args:
        model_dir: a run's folder.
        destination: a folder that is not there yet.
        step: a saved step; ``None`` for the newest.
        ema: write the average of the trained weights in their place.

    Raises:
        UserError: no such run or step, nothing that PEFT could hold, or the destination is there.
    """
    run, destination = Path(model_dir).expanduser(), Path(destination).expanduser()
    if not (run / run_files.CHECKPOINTS).is_dir():
        raise UserError(f"{str(model_dir)!r} has no folder `checkpoints`. Give the MODEL_DIR of a run.")
    check_new_dir(destination)
    stored = StoredParams(run / run_files.CHECKPOINTS, step, ema=ema)
    return export_adapter(run, destination, stored, saved_model(run, stored))


def saved_model(run: Path, stored: StoredParams | MergedParams) -> ModelConfig:
    """Reads the model of a run, as its checkpoint or the ``config.json`` of an imported folder has it.

    Raises:
        UserError: neither says.
    """
    saved = stored.run_config.get("model")
    if saved is not None:
        return model_of(saved)
    return huggingface.read_config(run)


def _check_whole(stored: StoredParams | MergedParams, config: ModelConfig) -> None:
    missing = [path for path in shapes_of(config) if not stored.has(path)]
    if missing:
        raise UserError(
            f"The checkpoint of step {stored.step} lacks {len(missing)} of the model's parameters, {'.'.join(missing[0])!r} "
            "first. Export another step, or the run that this one was copied from."
        )


def _tensors(stored: StoredParams | MergedParams, config: ModelConfig) -> Iterator[tuple[TensorPlace, np.ndarray]]:
    """Each tensor; layer by layer where the checkpoint lies so, else from one whole parameter after the other."""
    allowed = allows_nonfinite(stored.extra)
    rows: dict[tuple[tuple[str, ...], ...], list[TensorPlace]] = {}
    for place in places(families.layout(config), shapes_of(config)):
        rows.setdefault(place.paths, []).append(place)
    for paths, row in rows.items():
        whole = {path: stored.read(path) for path in paths if row[0].layer is None or not stored.by_layer(path)}
        for place in row:
            parts = [
                (whole[path] if place.layer is None else whole[path][place.layer])
                if path in whole
                else stored.read(path, place.layer)
                for path in paths
            ]
            if not allowed:
                _check_finite(stored.step, place, parts)
            yield place, join(place, parts)


def _check_finite(step: int, place: TensorPlace, parts: Sequence[np.ndarray]) -> None:
    for path, part in zip(place.paths, parts, strict=True):
        count = int(part.size - np.count_nonzero(np.isfinite(part)))
        if count:
            layer = "" if place.layer is None else f", layer {place.layer},"
            raise UserError(
                f"The weights of step {step} cannot be exported: {count:,} of the {part.size:,} numbers of {'/'.join(path)}{layer} "
                "are not finite, as a training that diverged leaves them. Export an earlier step (--step)."
            )


def _carried(run: Path, config: ModelConfig, fields: dict[str, Any]) -> dict[str, Tensor]:
    """Finds the tensors that the model does not use, and adds to the fields what its own file says of them."""
    folder = carried_folder(run)
    if folder is None:
        return {}
    families.carry_fields(config, fields, huggingface.read_json(folder / huggingface.CONFIG))
    return huggingface.carried_tensors(folder, config)


def _write_weights(
    folder: Path,
    config: ModelConfig,
    stored: StoredParams | MergedParams,
    dtype: str,
    max_shard_bytes: int,
    carried: Mapping[str, Tensor],
) -> list[Path]:
    files = writer.WeightsWriter(folder, config, dtype=dtype, max_shard_bytes=max_shard_bytes, carried=carried)
    for place, tensor in _tensors(stored, config):
        files.put_tensor(place.name, tensor)
    return files.finish()


def _copy_beside(run: Path, destination: Path) -> tuple[str, ...]:
    """The tokenizer and the settings of generation: an imported folder's own, or those that the run was started with."""
    manifest = run_files.read_manifest(run)
    if manifest is None:
        return _tokenizer_in(copy_description(run, destination))
    vocabulary_record, initial = manifest["vocabulary"], manifest["config"].get("initial_checkpoint") or ""
    own = str(run / PRETRAINED)
    for spec in (own, manifest["config"].get("vocabulary") or "", initial, vocabulary_record["name"]):
        files = _vocabulary_files(spec, vocabulary_record["fingerprint"])
        if files is None:
            continue
        if files.is_dir():
            copied = copy_description(files, destination)
            (destination / huggingface.CONFIG).unlink(missing_ok=True)  # the run's own is written
            return _tokenizer_in(copied)
        name = "tokenizer.json" if files.suffix == ".json" else "spiece.model"
        shutil.copyfile(files, destination / name)
        return (name,)
    return ()


def _vocabulary_files(spec: str, fingerprint: str) -> Path | None:
    """The folder or file of a vocabulary, if it is the one with this fingerprint."""
    try:
        vocabulary = load_vocabulary(spec)
    except UserError:  # a run's folder without a tokenizer, or a name of something else
        return None
    path = vocabulary.path
    if path is None or vocabulary.fingerprint() != fingerprint:
        return None
    given = Path(spec).expanduser()
    return given if given.is_dir() else path


def _tokenizer_in(names: tuple[str, ...]) -> tuple[str, ...]:
    if not any(name in _TOKENIZER_FILES for name in names) and "merges.txt" not in names and "vocab.txt" not in names:
        return ()
    return tuple(name for name in names if name not in (huggingface.CONFIG, GENERATION) and not name.isupper())


def _generation(fields: Mapping[str, Any]) -> dict[str, Any]:
    names = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
    return {"_from_model_config": True, **{name: fields[name] for name in names if fields.get(name) is not None}}


def _name_ends(path: Path, config: ModelConfig) -> None:
    """Lets settings of generation that came along with a tokenizer name what ends the run's own texts too."""
    settings = huggingface.read_json(path)
    given = settings.get("eos_token_id")
    named = given if isinstance(given, list) else [] if given is None else [given]
    missing = [index for index in (config.eos_id, *config.stop_ids) if index not in named]
    if missing:
        ends = [*named, *missing]
        writer.write_json(path, {**settings, "eos_token_id": ends if len(ends) > 1 else ends[0]})


def _use(run: Path, written: Path, config: ModelConfig) -> tuple[ModelConfig, UsageSnippet]:
    """Returns what stands around an instruction, and the model with the ids that it begins and ends with."""
    manifest = run_files.read_manifest(run)
    if manifest is None:
        asked = run_of_folder(written)
        end = () if config.decoder_only else (asked.model.eos_id,)
        return asked.model, UsageSnippet(end, asked.tokenize.lengths["targets"], trained=False)
    settings = manifest["config"]
    chosen = settings.get("chat_template")
    if isinstance(chosen, str):  # another than that of the tokenizer's folder: what is exported is asked with it
        atomic_write_text(written / "chat_template.jinja", load_chat_template(chosen).text)
    end = input_end_ids(load_vocabulary(written), settings.get("separator") or "").tolist()
    return config, UsageSnippet(tuple(end), settings["lengths"]["targets"], trained=True, chat=bool(chosen))


def _check(
    folder: Path, config: ModelConfig, stored: StoredParams | MergedParams, dtype: str, log: Log
) -> tuple[str, float]:
    """Compares what was written with the checkpoint, rounded as it was written."""
    rounded = FLOATS[writer.DTYPES[dtype]]
    if num_params(config) > CHECK_LOGITS_UP_TO:
        log("comparing every tensor with the checkpoint")
        worst = 0.0
        weights = huggingface.open_tensors(folder)
        for place, tensor in _tensors(stored, config):
            worst = max(worst, value_difference(weights[place.name], tensor.astype(rounded)))
        return "tensors", _within(worst)
    log("comparing the logits of a few prompts with those of the checkpoint")
    ours = {path: stored.read(path).astype(rounded).astype(np.float32) for path in shapes_of(config)}
    reread = huggingface.load(folder, dtype=config.dtype, allow_nonfinite=True)[1]
    worst = largest_difference(config, traverse_util.unflatten_dict(ours), reread)
    return "logits", _within(worst)


def _within(worst: float) -> float:
    if worst > TOLERANCE:
        raise RuntimeError(f"what was written differs from the checkpoint by {worst}")
    return worst
