"""The options by which examples become batches (``FeedConfig``)."""

import dataclasses
from collections.abc import Iterator
from dataclasses import field

from flan_jax.feed.sampler import Exhausted
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
        data_workers: processes that make batches; 0 makes them in a thread, which is enough as a rule: one makes tens of
            millions of tokens a second, which few devices outrun.
    """

    batch_size: Rows
    curriculum_steps: Natural = 0
    pack: bool = True
    exhausted: Exhausted = "repeat"
    max_epochs: Positive = 1
    data_workers: Natural = field(default=0, metadata=FREE)

    def unread(self) -> Iterator[tuple[str, str]]:
        """Yields epochs of tasks that repeat for ever, as ``OptionGroup.unread``."""
        yield from unread(self, "exhausted", {"max_epochs": ("drop", "stop")}, owner="run")
