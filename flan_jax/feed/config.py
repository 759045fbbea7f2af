"""The options by which examples become batches (``FeedConfig``)."""

import dataclasses
from collections.abc import Iterator
from dataclasses import field
from typing import Any

from flan_jax.feed.sampler import Exhausted
from flan_jax.mixing.stages import StageShape, parse_stages
from flan_jax.option_groups import FREE, OptionGroup
from flan_jax.typed import Natural, Positive, Rows, unread


@dataclasses.dataclass(frozen=True)
class FeedConfig(OptionGroup):
    """Options by which examples become batches.

    Attributes:
        batch_size: rows of the global batch; packed rows where ``pack`` is true.
        curriculum_steps: how many of the steps, the first ones, draw from the mixture's curriculum.
        pack: several examples a row; ``False`` puts each into a row of its own.
        exhausted: what becomes of a task that was gone through ``max_epochs`` times: ``repeat`` shuffles
            it anew and goes on, ``drop`` gives its share to the others, ``stop`` ends the run. The last batch is then
            filled up with empty rows.
        max_epochs: for ``drop`` and ``stop``.
        stages: weights as a function of the step: ``((0, {'flan': 1.0}), (1000, {'flan': 0.9, 'cot': 0.1}))``. After that
            many steps the parts (tasks, clusters, nested mixtures, as in ``weights``) that a stage names are drawn in these proportions and nothing else;
            inside each the mixture's own proportions hold, and before the first stage its own weights.
        stage_shape: ``constant`` keeps a stage's weights until the next one, ``linear`` goes from one to the next.
        stage_interval: for ``linear``: steps between two changes.
        data_workers: processes that make batches; 0 makes them in a thread, which is enough as a rule: one makes tens of
            millions of tokens a second, which few devices outrun.
    """

    batch_size: Rows
    curriculum_steps: Natural = 0
    pack: bool = True
    exhausted: Exhausted = "repeat"
    max_epochs: Positive = 1
    stages: tuple[Any, ...] = ()
    stage_shape: StageShape = "constant"
    stage_interval: Positive = 100
    data_workers: Natural = field(default=0, metadata=FREE)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "stages", parse_stages(self.stages))

    def unread(self) -> Iterator[tuple[str, str]]:
        """Yields epochs of tasks that repeat for ever, and an interval of constant stages, as ``OptionGroup.unread``."""
        yield from unread(self, "exhausted", {"max_epochs": ("drop", "stop")}, owner="run")
        yield from unread(self, "stage_shape", {"stage_interval": ("linear",)}, owner="run")
        if self.stage_shape != "constant" and not self.stages:
            yield (
                "stage_shape",
                f"run.stage_shape={self.stage_shape!r} has no stages to shape. Give run.stages, or leave it out.",
            )
