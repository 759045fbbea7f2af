"""What the training loop adds to the compiled step: between steps, and at a save."""

import contextlib
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _bench_rounds import log
from _scaling_training import Training, prepare

from flan_jax.models.build import num_params
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.checkpoint_config import CheckpointConfig
from flan_jax.train.hooks import MetricsWriter, Progress, TensorBoard
from flan_jax.train.loop import fit
from flan_jax.train.reporting.speed import Speed

RESAMPLES = 2000
Timed = Callable[[], tuple[float, float]]
"""Takes some steps; returns seconds and CPU seconds of one."""


def overhead(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Measures the loop around a step against the step alone, in turns.

    Args:
        settings: ``model``, ``tasks`` (that metrics are split by), ``steps`` (of a turn), ``rounds`` (of turns, after one
            that is not counted) and ``log_periods`` (steps between logged lines).

    Returns:
        For every log period ``added`` (the loop's seconds a step less those of the bare calls in the same round) and
        ``host`` (the loop around a step that computes nothing: all of its work, none of it hidden behind the devices'),
        each with median, a 95% interval of the median by bootstrap, and CPU seconds; and ``bare_step_s``.
    """
    with tempfile.TemporaryDirectory(prefix="bench_loop_") as folder:
        training = prepare(settings["model"], optimizer="adafactor", tasks=settings["tasks"])
        loops = _Loops(training, settings["tasks"], settings["steps"], Path(folder))
        systems: dict[str, Timed] = {"bare": loops.bare}
        for period in settings["log_periods"]:
            systems[f"loop {period}"] = lambda period=period: loops.loop(period)
            systems[f"host {period}"] = lambda period=period: loops.host(period)
        wall: dict[str, list[float]] = {name: [] for name in systems}
        cpu: dict[str, list[float]] = {name: [] for name in systems}
        for index in range(settings["rounds"] + 1):
            for name, call in systems.items():
                seconds, used = call()
                if index:
                    wall[name].append(seconds)
                    cpu[name].append(used)
            log(f"round {index}: " + ", ".join(f"{name} {1e3 * own[-1]:.3g} ms" for name, own in wall.items() if own))
    found: dict[str, Any] = {}
    for period in settings["log_periods"]:
        loop, host = f"loop {period}", f"host {period}"
        found[str(period)] = {
            "added": interval(_less(wall[loop], wall["bare"])),
            "added_cpu": interval(_less(cpu[loop], cpu["bare"])),
            "host": interval(wall[host]),
            "host_cpu": interval(cpu[host]),
        }
    return {
        **settings,
        "parameters": num_params(training.preset.model),
        "bare_step_s": interval(wall["bare"]),
        "log_periods": found,
    }


class _Loops:
    """The same steps bare, in the loop with its hooks, and in the loop without computing."""

    def __init__(self, training: Training, tasks: int, steps: int, folder: Path) -> None:
        self._training, self._steps, self._folder = training, steps, folder
        self._names = [f"task_{index}" for index in range(tasks)]
        self._state = training.begin()
        self._on_device = training.partitioner.shard_batch(training.batch)
        self._state, self._metrics = training.step(self._state, self._on_device)
        jax.block_until_ready((self._state, self._metrics))

    def bare(self) -> tuple[float, float]:
        with self._timed() as taken:
            for _ in range(self._steps):
                self._state, metrics = self._training.step(self._state, self._on_device)
            jax.block_until_ready((self._state, metrics))
        return taken[0], taken[1]

    def loop(self, log_every: int) -> tuple[float, float]:
        return self._fit(self._training.step, log_every)

    def host(self, log_every: int) -> tuple[float, float]:
        return self._fit(lambda state, batch: (state, self._metrics), log_every)

    def _fit(self, step: Any, log_every: int) -> tuple[float, float]:
        done = int(self._state.step)
        preset, training = self._training.preset, self._training
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        with (
            contextlib.closing(TensorBoard(folder / "events", self._names)) as curves,
            contextlib.closing(Progress(done + self._steps, start=done, stream=io.StringIO())) as progress,
        ):
            hooks = [MetricsWriter(folder / "metrics.jsonl", self._names), curves, progress]
            speed = Speed(preset.model, preset.rows, (preset.inputs, preset.targets), frozen=False)
            with self._timed() as taken:
                self._state = fit(
                    self._state,
                    itertools.repeat(training.batch),
                    step,
                    steps=done + self._steps,
                    shard_batch=training.partitioner.shard_batch,
                    hooks=hooks,
                    log_every=log_every,
                    speed=speed,
                )
                jax.block_until_ready(self._state)
        return taken[0], taken[1]

    @contextlib.contextmanager
    def _timed(self) -> Iterator[list[float]]:
        taken: list[float] = []
        begun, used = time.perf_counter(), time.process_time()
        yield taken
        taken += [(time.perf_counter() - begun) / self._steps, (time.process_time() - used) / self._steps]


def _less(those: Sequence[float], these: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(those, these, strict=True)]


def interval(values: Sequence[float]) -> dict[str, Any]:
    """The median, a 95% interval of it by bootstrap, and every value.

    >>> interval([2.0, 2.0, 2.0])
    {'median': 2.0, 'low': 2.0, 'high': 2.0, 'runs': [2.0, 2.0, 2.0]}
    """
    drawn = np.random.default_rng(0).choice(np.asarray(values), (RESAMPLES, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return {"median": statistics.median(values), "low": float(low), "high": float(high), "runs": list(values)}


def checkpoint(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Measures how long the loop waits at a save, what the writing beside it costs the next step, and a restoration.

    Args:
        settings: ``model``, ``optimizer``, ``rows``, ``saves`` and ``period`` (steps between them).

    Returns:
        ``step_s`` (of the two steps before a save, when nothing is written), ``stall_s`` (of the loop at a save) and
        ``stall_share`` of a step; ``next_step_s`` (behind a save, while its files are written); ``bytes`` on the disk; and
        ``restore_s``.
    """
    training = prepare(settings["model"], optimizer=settings["optimizer"], rows=settings["rows"])
    saves, period, preset = settings["saves"], settings["period"], training.preset
    lines: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="bench_checkpoint_") as folder:
        with Checkpointer(folder, CheckpointConfig(period=period, keep=1)) as checkpointer:
            fit(
                training.begin(),
                itertools.repeat(training.batch),
                training.step,
                # One more, whose line says what the last of the saves took; the save at the end is no part.
                steps=saves * period + 1,
                shard_batch=training.partitioner.shard_batch,
                hooks=[lambda step, line, state: lines.__setitem__(step, line)],
                log_every=1,
                checkpointer=checkpointer,
                speed=Speed(preset.model, preset.rows, (preset.inputs, preset.targets), frozen=False),
            )
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        with Checkpointer(folder, create=False) as checkpointer:
            begun = time.perf_counter()
            jax.block_until_ready(checkpointer.restore(training.shapes).state)
            restored = time.perf_counter() - begun
    saved = [period * index for index in range(1, saves + 1)]
    steps = [lines[step - before]["seconds"] for step in saved for before in (0, 1)]
    stalls = [lines[step + 1]["speed"]["save_seconds"] for step in saved]
    return {
        **settings,
        "rows": preset.rows,
        "lengths": {"inputs": preset.inputs, "targets": preset.targets},
        "parameters": num_params(preset.model),
        "step_s": interval(steps),
        "stall_s": interval(stalls),
        "stall_share": statistics.median(stalls) / statistics.median(steps),
        "next_step_s": interval([lines[step + 1]["seconds"] for step in saved]),
        "bytes": size,
        "restore_s": restored,
    }
