"""Hooks that show and write a run while it trains: metrics.jsonl, TensorBoard events, progress.

Every hook is called in every process; these write in the first process only.
"""

import json
import logging
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from tqdm import tqdm

from flan_jax.files import atomic_write_text, writing
from flan_jax.train.metrics_accumulator import HostMetrics
from flan_jax.train.state import TrainState

_LOG = logging.getLogger(__name__)
_SYNC_EVERY_S = 1.0


class MetricsWriter:
    """Appends one JSON line a logged step; the file is one series, however often the run was resumed.

    A line has `step`, the scalars of `MetricsAccumulator.flush` (null for one that is not finite), the object `speed` of
    `reporting.speed` where it is known, and the objects `task_loss` (nats a token) and `task_share` (fraction of the loss
    tokens) by task name, for the tasks that occurred.

    Args:
      path: made with its folder where it does not exist.
      task_names: the K names behind the per-task metrics.
      resume_step: lines of later steps are dropped, and so is a line that was cut short.
      more: asked at every line for what else stands in it, JSON values by name.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        task_names: Sequence[str] = (),
        *,
        resume_step: int = 0,
        more: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.path = Path(path)
        self._more = more
        self._task_names = tuple(task_names)
        self._synced = time.monotonic()
        if jax.process_index() == 0:
            forget_later(self.path, resume_step)

    def __call__(self, step: int, metrics: HostMetrics, state: TrainState, /) -> None:
        """Writes the line of this step; once a second at most it waits for the disk."""
        if jax.process_index() == 0:
            scalars = {name: value if math.isfinite(value) else None for name, value in _scalars(metrics).items()}
            line = {"step": step, **scalars, **groups_of(metrics, self._task_names), **self._more()}
            with writing(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                if time.monotonic() - self._synced > _SYNC_EVERY_S:
                    os.fsync(file.fileno())
                    self._synced = time.monotonic()


def forget_later(path: Path, step: int) -> None:
    """Drops the JSON lines of later steps, which a resumed run writes again; makes the file where it is not there.

    A line that cannot be read goes too, and is reported; the others stay as they are.
    """
    atomic_write_text(path, "".join(f"{text}\n" for text, line in _lines(path) if line["step"] <= step))


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the lines of a metrics.jsonl; [] without a file.

    A line that is damaged is left out and reported with its number. A last one that begins as a line does and was cut
    short, as a kill leaves it, is left out without a word.
    """
    return [line for _, line in _lines(Path(path))]


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each line that holds a step, as it is written and as it is read."""
    texts = path.read_bytes().split(b"\n") if path.exists() else []
    for number, raw in enumerate(texts, 1):
        if not raw.strip():
            continue
        try:
            text = raw.decode("utf-8")
            line = json.loads(text)
            if type(line["step"]) is not int:
                raise TypeError(f"its step is {line['step']!r}")
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            if number < len(texts) or not _is_cut_short(raw):
                _LOG.warning(f"{path}, line {number} is no line of metrics ({error!r:.200}) and is left out.")
        else:
            yield text, line


def _is_cut_short(raw: bytes) -> bool:
    """Tells whether a line without an end is the beginning of one that was being written."""
    return raw.startswith(_BEGINNING) or _BEGINNING.startswith(raw)


_BEGINNING = b'{"step": '


def by_task(metrics: HostMetrics, task_names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Returns `task_loss` and `task_share` by name, for the tasks that had loss tokens in the window."""
    rows = zip(task_names, metrics["task_loss"], metrics["task_weight"], strict=False)
    seen = [(name, float(loss), float(weight)) for name, loss, weight in rows if weight > 0]
    return {
        "task_loss": {name: loss for name, loss, _ in seen},
        "task_share": {name: weight / metrics["weight"] for name, _, weight in seen},
    }


def groups_of(metrics: HostMetrics, task_names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Returns what a line has beside its scalars, by group and name: `speed` where it is known, and what `by_task` returns."""
    return {**({"speed": metrics["speed"]} if "speed" in metrics else {}), **by_task(metrics, task_names)}


def _scalars(metrics: HostMetrics) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if np.ndim(value) == 0 and not isinstance(value, Mapping)}


class TensorBoard:
    """Writes scalars as TensorBoard events, through TensorBoard's own record format and without TensorFlow.

    Args:
      folder: made where it does not exist; each start of the run adds one file.
      task_names: the K names; the tasks' curves stand under `task_loss/` and `task_share/`.
      resume_step: TensorBoard hides what an earlier start wrote for later steps.
    """

    def __init__(self, folder: str | os.PathLike[str], task_names: Sequence[str] = (), *, resume_step: int = 0) -> None:
        # Imported here: the protocol buffers cost a second that only a run with curves should pay.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        self._task_names = tuple(task_names)
        self._writer: Any = None
        self._folder = Path(folder)
        if jax.process_index() == 0:
            Path(folder).mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
            self._writer = RecordWriter((Path(folder) / name).open("wb"))
            self._write(file_version="brain.Event:2")
            if resume_step:
                self._write(step=resume_step + 1, session_log=SessionLog(status=SessionLog.START))

    def __call__(self, step: int, metrics: HostMetrics, state: TrainState, /) -> None:
        """Writes the scalars of this step."""
        if self._writer is not None:
            values = {f"train/{name}": value for name, value in _scalars(metrics).items()}
            for group, named in groups_of(metrics, self._task_names).items():
                values |= {f"{group}/{name}": value for name, value in named.items()}
            summary = self._summary(value=[self._summary.Value(tag=tag, simple_value=v) for tag, v in values.items()])
            self._write(step=step, summary=summary)

    def _write(self, **fields: Any) -> None:
        with writing(self._folder):
            self._writer.write(self._event(wall_time=time.time(), **fields).SerializeToString())
            self._writer.flush()

    def close(self) -> None:
        """Closes the file.

        Raises:
          WritingError: the file system takes no more; where that ended training it is the same again.
        """
        if self._writer is not None:
            with writing(self._folder):
                self._writer.close()


class Progress:
    """Shows step, loss, tokens a second and the time left: a bar on a terminal, plain lines otherwise.

    Tokens are those of both sides that are no padding.

    Args:
      steps: where training ends.
      start: the step it starts from.
      stream: default standard error.
    """

    def __init__(self, steps: int, *, start: int = 0, stream: TextIO | None = None) -> None:
        self._steps = steps
        self._stream = stream or sys.stderr
        self._bar: Any = None
        if jax.process_index() == 0 and self._stream.isatty():
            self._bar = tqdm(total=steps, initial=start, unit="step", file=self._stream, dynamic_ncols=True)

    def __call__(self, step: int, metrics: HostMetrics, state: TrainState, /) -> None:
        """Shows this step."""
        speed = metrics["tokens"] / max(metrics["seconds"], 1e-9)
        mfu = f", {metrics['speed']['mfu']:.0%} MFU" if "mfu" in metrics.get("speed", {}) else ""
        skipped = f", {metrics['skipped']:,} of {metrics['steps']:,} steps skipped" if metrics.get("skipped") else ""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {metrics['loss']:.4f}, {speed:,.0f} tokens/s{mfu}{skipped}", refresh=False)
            self._bar.update(step - self._bar.n)
            if step >= self._steps:
                self.close()
        elif jax.process_index() == 0:
            left = (self._steps - step) * metrics["seconds"] / metrics["steps"]
            line = f"step {step}/{self._steps}  loss {metrics['loss']:.4f}  {speed:,.0f} tokens/s{mfu}  ETA {duration(left)}{skipped}"
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


def duration(seconds: float) -> str:
    """Formats a time span.

    >>> duration(59.2), duration(3725)
    ('1:00', '1:02:05')
    """
    minutes, secs = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"
