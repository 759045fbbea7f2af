"""Rates of steps, and where the rest of the time goes: the object ``speed`` of a logged line."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Literal

import jax

from flan_jax.models.config import ModelConfig
from flan_jax.models.operations import step_operations
from flan_jax.train.metrics_accumulator import HostMetrics
from flan_jax.train.reporting.peak_rates import peak_rate

Part = Literal["data_wait", "save", "evaluate"]
"""What is no step: waiting for a batch (inside a line's ``seconds``), beginning a save and measuring (beside them)."""


class Stopwatch:
    """Seconds of each part since they were last read."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def measuring(self, part: Part) -> Iterator[None]:
        """Adds the time inside to a part."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[part] = self._seconds.get(part, 0.0) + time.monotonic() - began

    def read(self) -> dict[str, float]:
        """Returns ``{part}_seconds`` of every part since the last call, and begins anew."""
        found = {f"{part}_seconds": self._seconds.get(part, 0.0) for part in ("data_wait", "save", "evaluate")}
        self._seconds = {}
        return found


class Speed:
    """Rates of a run's steps.

    Args:
        model: the network.
        rows: of the batch of all hosts.
        lengths: tokens of inputs and of targets in a row.
        frozen: the model's kernels are not trained.
        devices: that compute a step together; by default all of all hosts.
    """

    def __init__(
        self, model: ModelConfig, rows: int, lengths: tuple[int, int], *, frozen: bool, devices: list[Any] | None = None
    ) -> None:
        inputs, targets = (0, sum(lengths)) if model.decoder_only else lengths
        devices = jax.devices() if devices is None else devices
        rates = [peak_rate(device.device_kind, model.dtype) for device in devices]
        self._places = rows * sum(lengths)
        self._operations = step_operations(model, rows, inputs, targets, frozen=frozen)
        self._peak = None if None in rates else sum(rate for rate in rates if rate is not None)

    def __call__(self, line: HostMetrics) -> dict[str, float]:
        """Returns the rates of a logged window.

        ``tokens_per_second`` are those that are no padding, ``places_per_second`` all of the rows. ``mfu`` is the share of
        the devices' peak rate that the step's operations by formula (``models.operations.FORMULA``) take, where the
        devices are known; ``device_memory_bytes`` is the most that one of this host's has had in use, where it says so.
        """
        seconds = max(line["seconds"], 1e-9)
        taken = line["steps"] / seconds
        found = {"tokens_per_second": line["tokens"] / seconds, "places_per_second": self._places * taken}
        if self._peak is not None:
            found["mfu"] = self._operations * taken / self._peak
        used = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
        known = [size for size in used if size is not None]
        return found | ({"device_memory_bytes": float(max(known))} if known else {})
