"""One of several processes that train together; writes what it saw to FOLDER/result_<index>.json."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax

FOLDER, PORT, INDEX, COUNT = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
STEPS = 3
# Before anything asks for devices.
jax.distributed.initialize(f"127.0.0.1:{PORT}", num_processes=COUNT, process_id=INDEX)

from run_tiny import ROWS, TinyRun, answers, batches  # noqa: E402

from flan_jax.eval import scoring  # noqa: E402
from flan_jax.eval.journal import Journal  # noqa: E402
from flan_jax.train.checkpoint import Checkpointer  # noqa: E402
from flan_jax.train.loop import Preempted, fit  # noqa: E402
from flan_jax.train.sharding import MeshConfig  # noqa: E402


def local_batches(start: int = 0) -> Any:
    rows = slice(INDEX * ROWS // COUNT, (INDEX + 1) * ROWS // COUNT)
    for batch in batches(start):
        yield {name: values[rows] for name, values in batch.items()}


def main() -> None:
    run = TinyRun(mesh=MeshConfig(-1, 2, 1), dropout_rate=0.0)
    losses: list[float] = []
    seen: list[int] = []

    def note(step: int, metrics: dict, state: Any) -> None:
        losses.append(metrics["loss"])

    def preempt(step: int, metrics: dict, state: Any) -> None:
        seen.append(step)
        time.sleep(0.02)
        # The last process only: the others have to hear of it.
        if step == STEPS + 3 and INDEX == COUNT - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with Checkpointer(FOLDER / "checkpoints") as checkpointer:
        common = {"step_fn": run.step, "shard_batch": run.put, "log_every": 1, "checkpointer": checkpointer}
        fit(run.start(), local_batches(), steps=STEPS, hooks=[note], **common)
        restored = checkpointer.restore(run.abstract)
        try:
            fit(restored.state, local_batches(STEPS), steps=100_000, hooks=[preempt], **common)
            stopped = None
        except Preempted as stop:
            stopped = (stop.step, stop.signum)
        saved = checkpointer.steps()
    evaluated = measure(run)
    result = {
        "losses": losses,
        "first": seen[0],
        "stopped": stopped,
        "saved": saved,
        "devices": jax.device_count(),
        **evaluated,
    }
    (FOLDER / f"result_{INDEX}.json").write_text(json.dumps(result))


def measure(run: TinyRun) -> dict[str, Any]:
    """Answers of all processes together; the second time from the journal alone, which the first process wrote."""
    path = FOLDER / "eval" / "answers.journal"
    scores, texts = answers(run, Journal(path))
    compiled = scoring.target_scores

    def computed(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    scoring.target_scores = computed
    again = answers(run, Journal(path))
    scoring.target_scores = compiled
    return {"scores": scores, "texts": texts, "recalled": again == (scores, texts)}


main()
