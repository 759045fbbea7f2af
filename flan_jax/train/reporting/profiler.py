"""A trace of some steps by JAX's profiler, for TensorBoard, Perfetto or XProf."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax


class Profiled:
    """A step function of which a range of steps is traced.

    Args:
        step_fn: (state, batch) -> (state, metrics).
        steps: the first and the last step to trace, 1-based.
        folder: of the trace; made where it does not exist.
        taken: steps taken before.
    """

    def __init__(self, step_fn: Callable[[Any, Any], Any], steps: tuple[int, int], folder: Path, taken: int) -> None:
        self._step_fn, self._folder, self._step = step_fn, folder, taken
        self._first, self._last = steps
        self._running = False

    def __call__(self, state: Any, batch: Any) -> Any:
        """Takes a step."""
        self._step += 1
        if self._step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._running = True
        result = self._step_fn(state, batch)
        if self._step == self._last and self._running:
            jax.block_until_ready(result[1])
            self.close()
        return result

    def close(self) -> None:
        """Writes what was traced, where the range is not over yet."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
