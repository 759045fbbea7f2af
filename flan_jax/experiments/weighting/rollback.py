"""Takes a run's model and optimizer back to an earlier checkpoint of it, for methods that ask for that."""

import dataclasses
from collections.abc import Callable

import jax
import optax

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.state import TrainState


def check_rollbacks(config: RunConfig) -> None:
    """Checks that every step that a run's method may go back to is saved and stays.

    Raises:
        UserError: it is not.
    """
    method, options, first = config.weighting, config.checkpoint, config.feed.curriculum_steps
    if method is None or not method.reach:
        return
    name, period = type(method).__name__, method.period
    if period % options.period or first % period:
        raise UserError(
            f"{name} goes back to checkpoints of the steps after which it updates, every {period} behind the {first} of the "
            f"curriculum, and one is saved every {options.period}. Set CHECKPOINT_PERIOD={period}, and a curriculum of a multiple of it."
        )
    kept = options.keep_period and not period % options.keep_period
    needed = 2 * method.reach * (period // options.period)
    if not kept and options.keep < needed:
        raise UserError(
            f"{name} goes back over up to {method.reach} updates, and the newest {options.keep} checkpoints are kept, of which an "
            f"interrupted run has more. Set CheckpointConfig.keep={needed}, or keep_period={period}."
        )


def rollback(
    checkpointer: Checkpointer, name: str, log: Callable[[str], None]
) -> Callable[[TrainState, int], TrainState]:
    """Makes the function that finds an earlier state again.

    Weights and the optimizer's moments are those of then; the number of steps, and the learning rate's place in its
    schedule, stay those of now.

    Args:
        checkpointer: of the run.
        name: of the method that asks, for the log.
        log: told in a sentence.
    """

    def back(state: TrainState, step: int) -> TrainState:
        log(f"{name} leaves a unit out after step {int(jax.device_get(state.step))}: back to the model of step {step}")
        checkpointer.wait()
        earlier = checkpointer.restore(state, step).state
        moments = jax.tree.map(
            lambda now, then: now if _is_schedule(now) else then,
            state.opt_state,
            earlier.opt_state,
            is_leaf=_is_schedule,
        )
        return dataclasses.replace(earlier, step=state.step, opt_state=moments)

    return back


def _is_schedule(node: object) -> bool:
    return isinstance(node, optax.ScaleByScheduleState)
