"""Exports of a run that trained a part: a whole model, or its adapters or prompt alone."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from flan_jax.data.sources.hub_models import HUB
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import EvalConfig
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.fetched_run import model_folder
from flan_jax.experiments.weights.frozen_base import tuning_of
from flan_jax.experiments.weights.initial import base_params, load_trained, with_float32_base
from flan_jax.files import new_dir
from flan_jax.models.build import ModelConfig
from flan_jax.models.huggingface import peft
from flan_jax.models.huggingface import reader as huggingface_folder
from flan_jax.models.huggingface.reader import read_json
from flan_jax.models.ops.linear import LowRank
from flan_jax.models.peft.adapters import A, B, check_mergeable
from flan_jax.models.peft.config import TuningConfig
from flan_jax.train.checkpoint_stream import ParamPath, StoredParams
from flan_jax.train.optimizer import OptimizerConfig


def tuning_saved(stored: StoredParams) -> TuningConfig:
    """Reads from a checkpoint which part of the model its run trained."""
    return TuningConfig(**stored.run_config.get("tuning", {}))


class MergedParams:
    """All parameters of a run that trained a part, adapters added; read as ``StoredParams`` are.

    What was trained is added to the base in float32 as it is read again, also where the run kept it in bfloat16
    (``TuningConfig.frozen_dtype``): the base's numbers are its own, not rounded ones. Of a base that is a checkpoint of a
    whole model, or an imported folder, one parameter or one layer of it is in memory at a time. Another is held as a
    whole, in 16 bits where those lose nothing.

    Args:
        run: its folder.
        stored: its checkpoint.
        config: of the model.

    Raises:
        UserError: the run trained a prompt, or its base is not there or another.
    """

    def __init__(self, run: Path, stored: StoredParams, config: ModelConfig) -> None:
        self.step, self.run_config, self.extra = stored.step, stored.run_config, stored.extra
        as_run, self._scale = _as_run(run, stored, config), tuning_saved(stored).scale
        trained = load_trained(as_run, step=stored.step)
        check_mergeable(trained)
        self._trained = traverse_util.flatten_dict(jax.device_get(trained))
        self._base = _base_of(as_run)

    def has(self, path: ParamPath) -> bool:
        """Tells whether the model has the parameter."""
        return path in self._trained or self._base.has(path)

    def by_layer(self, path: ParamPath) -> bool:
        """Tells whether a layer can be read without the others."""
        return path in self._trained or self._base.by_layer(path)

    def read(self, path: ParamPath, layer: int | None = None) -> np.ndarray:
        """Reads one parameter, or one layer of it, as float32."""
        at = ... if layer is None else layer
        if path in self._trained:
            return np.asarray(self._trained[path][at], np.float32)
        values = self._base.read(path, layer)
        if (*path, A) not in self._trained:
            return values
        a, b = (jnp.asarray(self._trained[*path, name][at], jnp.float32) for name in (A, B))
        return np.asarray(LowRank(jnp.asarray(values), a, b, self._scale).whole())


class _HeldParams:
    """Parameters of a model in memory, read as ``StoredParams`` are."""

    def __init__(self, params: Iterable[tuple[ParamPath, np.ndarray]]) -> None:
        self._params = {path: _in_16_bits(values) for path, values in params}

    def has(self, path: ParamPath) -> bool:
        """Tells whether the model has the parameter."""
        return path in self._params

    def by_layer(self, path: ParamPath) -> bool:
        """Tells whether a layer can be read without the others: it is all here."""
        return True

    def read(self, path: ParamPath, layer: int | None = None) -> np.ndarray:
        """Reads one parameter, or one layer of it, as float32."""
        return np.asarray(self._params[path][... if layer is None else layer], np.float32)


def _in_16_bits(values: np.ndarray) -> np.ndarray:
    """Returns the same numbers in half of the memory, where they are numbers of bfloat16."""
    narrow = np.asarray(values, jnp.bfloat16)
    return narrow if np.array_equal(np.asarray(narrow, np.float32), values) else values


def _base_of(config: RunConfig) -> "StoredParams | _HeldParams":
    """Opens the weights that a run began with: a checkpoint of a whole model as it lies, any other in memory."""
    plain = config.initial_checkpoint and not (config.initial_adapter or config.initial_parameters)
    if plain:
        folder = model_folder(config.initial_checkpoint)
        if (folder / run_files.CHECKPOINTS).is_dir() and not tuning_of(folder)[0].partial:
            return StoredParams(folder / run_files.CHECKPOINTS)
        if not (folder / run_files.CHECKPOINTS).is_dir():
            theirs = huggingface_folder.read_config(folder, dtype=config.model.dtype)
            return _HeldParams(huggingface_folder.stream(folder, theirs))
    whole = traverse_util.flatten_dict(base_params(config))
    return _HeldParams((path, np.asarray(jax.device_get(leaf))) for path, leaf in whole.items())


@dataclasses.dataclass(frozen=True)
class ExportedAdapter:
    """A record of what was written.

    Attributes:
        run: the run's folder.
        folder: PEFT's.
        step: the checkpoint's.
        kind: PEFT's name of it, ``LORA`` or ``PROMPT_TUNING``.
        parameters: numbers in it.
        base: what it stands on, as the run names it.
        loads_on: what ``adapter_config.json`` names as the base: a model with weights that transformers reads, or ``""``.
        advice: what to load it on, in a sentence.
    """

    run: str
    folder: str
    step: int
    kind: str
    parameters: int
    base: str
    loads_on: str
    advice: str


def export_adapter(run: Path, destination: Path, stored: StoredParams, config: ModelConfig) -> ExportedAdapter:
    """Writes the adapters or the prompt of a run as ``PeftModel.from_pretrained`` loads them.

    Args:
        run: its folder.
        destination: a folder that is not there yet.
        stored: its checkpoint.
        config: of the model.

    Raises:
        UserError: the run trained all of its model, or what PEFT has no word for.
    """
    tuning = tuning_saved(stored)
    if not (tuning.lora_rank or tuning.prompt_tokens):
        raise UserError(f"{str(run)!r} trained neither adapters nor a prompt. Export the model (without --adapter).")
    base = stored.run_config.get("initial_checkpoint") or ""
    loads_on, advice = published_base(
        base, stored.run_config.get("initial_adapter") or "", some=bool(stored.run_config.get("initial_parameters"))
    )
    trained = jax.device_get(load_trained(_as_run(run, stored, config), step=stored.step))
    with new_dir(destination) as written:
        peft.save(written, config, tuning, trained, base=loads_on)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(trained))
    kind = "LORA" if tuning.lora_rank else "PROMPT_TUNING"
    return ExportedAdapter(str(run), str(destination), stored.step, kind, numbers, base, loads_on, advice)


def published_base(base: str, adapter: str = "", *, some: bool = False) -> tuple[str, str]:
    """Finds the model that transformers can load below an adapter, and what to do, in a sentence.

    Args:
        base: the run's initial checkpoint; ``""`` where its seed drew the weights.
        adapter: the run's initial adapter, if it had one.
        some: the run took some of the base's parameters alone.

    Returns:
        A folder or a name of the hub, or ``""`` where nothing that the run names has weights for transformers.
    """
    if not base:
        return "", "It stands on weights that a seed drew, which are nowhere else: export the run without --adapter."
    if adapter:
        return "", f"It stands on {base!r} with the adapter {adapter!r} added: export the run without --adapter."
    if some:
        return (
            "",
            f"It stands on some parameters of {base!r} and others that a seed drew: export the run without --adapter.",
        )
    folder = Path(base).expanduser()
    if not folder.is_dir():
        name = base.removeprefix(HUB).partition("@")[0]
        return name, f"Load it on {name}."
    if run_files.read_manifest(folder) is not None:
        return (
            "",
            f"It stands on a run: export that with `flan-jax export-hf {base} BASE`, and load the adapter on BASE.",
        )
    record = folder / run_files.ORIGIN
    if record.is_file():
        source = str(read_json(record).get("source", "")).removeprefix(HUB).partition("@")[0]
        return source, f"Load it on {source}, from which {base!r} was imported."
    return base, f"Load it on {base}."


def _as_run(run: Path, stored: StoredParams, config: ModelConfig) -> RunConfig:
    saved: Mapping[str, Any] = (run_files.read_manifest(run) or {"config": stored.run_config})["config"]
    return RunConfig.from_options(
        model_dir=str(run),
        mixture=saved["mixture"],
        lengths=saved["lengths"],
        model=config,
        optimizer=OptimizerConfig(),
        steps=0,
        batch_size=1,
        initial_checkpoint=saved["initial_checkpoint"],
        initial_adapter=saved.get("initial_adapter", ""),
        initial_parameters=tuple(saved.get("initial_parameters", ())),
        seed=saved["seed"],
        pack=saved["pack"],
        tuning=with_float32_base(tuning_saved(stored)),
        ema_decay=stored.run_config.get("ema_decay", 0.0),
        evaluation=EvalConfig(ema=stored.ema),
    )
