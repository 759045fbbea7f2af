"""The one thing that trains runs of a study (``Executor``), and the one that does so with the trainer of single runs."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from flan_jax.studies.plan import RunPlan

End = Literal["done", "diverged", "failed"]


@dataclasses.dataclass(frozen=True)
class RunProgress:
    """The state of runs that train together.

    Attributes:
        step, steps: taken by each of them, and in all.
        losses: name of a run → its loss (nats a token) in the last logged window.
    """

    step: int
    steps: int
    losses: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RunEnd:
    """The end of a run.

    Attributes:
        name: of the run.
        outcome: ``done`` where its last step was taken and measured.
        step: steps taken.
        reason: why it did not reach its end; ``""`` where it did.
    """

    name: str
    outcome: End
    step: int
    reason: str = ""


OnProgress = Callable[[RunProgress], None]


class Executor(Protocol):
    """Trains runs of a study; the runner decides which, and when."""

    def prepare(self, plans: Sequence[RunPlan]) -> None:
        """Brings what all of these runs read into the study's store. Called once, before the first is trained.

        Raises:
            UserError: what a run asks for is not to be had.
        """

    def group_key(self, plan: RunPlan) -> str:
        """Returns a text that runs share which can be trained together."""

    def group_size(self, plan: RunPlan) -> int:
        """Returns how many runs like this one are trained together at most."""

    def train(self, plans: Sequence[RunPlan], folder: Path, on_progress: OnProgress) -> tuple[RunEnd, ...]:
        """Trains runs to their ends; where they were begun before in this folder, from what was saved.

        Args:
            plans: the runs, always the same for one folder.
            folder: holds what belongs to all of them; it is there.
            on_progress: told after every logged step.

        Returns:
            The end of each run, in the order of ``plans``.

        Raises:
            Preempted: a signal came; what was reached is saved.
            DivergedError: a single run diverged.
            RunHeldError: another process writes into the folder of a run.
            Exception: anything else is a failure of all of these runs.
        """
