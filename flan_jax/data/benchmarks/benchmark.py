"""The declaration of a published benchmark, and what is read of it: questions, solved examples, options. No tokens.

A prompt is ``preamble + shot + shot + … + question``: the parts are kept apart, so that solved examples can be left out
where a prompt does not fit, and every part is the published text, byte for byte.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from flan_jax.errors import UserError
from flan_jax.tasks.spec import Predict

Asks = dict[str, Any]
"""What is asked, as slots: two that read the same (``content_key``) are one question."""
ShotOrder = Literal["published", "drawn"]
"""``published``: the first of the published ones, in their order. ``drawn``: by (seed, task, example)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
    """A solved example.

    Attributes:
        text: as it stands in a prompt, with what separates it from what follows.
        asks: what it asks.
    """

    text: str
    asks: Asks


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """A question of the test, in one order of its options.

    Attributes:
        example_id: its row in the file, from 0.
        text: the end of the prompt.
        asks: what it asks.
        references: the accepted answers.
        options: what may be answered; ``()`` where text is generated.
        order: which order of its options this is; 0 is the published one.
        places: index in the file of the option at each place; ``()`` where their order is no matter.
    """

    example_id: int
    text: str
    asks: Asks
    references: tuple[str, ...]
    options: tuple[str, ...] = ()
    order: int = 0
    places: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class BenchmarkTask:
    """One task of a benchmark, such as a subject of MMLU.

    Attributes:
        name: what results call it, the benchmark's name in front.
        category: the published category that it belongs to.
        preamble: what prompts begin with.
        questions: of the test, every order of the options of one behind each other.
        shots: solved examples, in the published order.
        shot_order: how they are chosen where nobody says.
        notes: what a reader of its score must know, a sentence each.
    """

    name: str
    category: str
    preamble: str
    questions: tuple[Question, ...]
    shots: tuple[Shot, ...]
    shot_order: ShotOrder = "published"
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ReadingChoices:
    """The choices that a user made of how a benchmark is read.

    Attributes:
        shots: how many solved examples are wanted; with 0 none need be there.
        exemplars: a file of solved examples in the place of the published ones; ``None`` for those of the folder.
        option_orders: how many orders of its options each question is asked in.
        limit: questions of a task, the first ones; 0 for all.
        seed: of the orders.
    """

    shots: int
    exemplars: Path | None = None
    option_orders: int = 1
    limit: int = 0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A published benchmark.

    Attributes:
        name: on the command line and in results.
        title: for people, with the paper.
        follows: whose prompt format it is.
        version: of the format; raised when a prompt or an answer's extraction changes.
        shots: solved examples in the published setting.
        metric: a name in ``flan_jax.eval.metrics.registry.METRICS``.
        predict: ``rank`` scores the options, ``generate`` decodes.
        files: what its folder holds, for people.
        folders: names under which the folder may lie in a folder of data.
        marker: a file or folder that its folder has.
        tasks: folder → name of each task there → its category. Names are without the benchmark's.
        read: (folder, name, choices) → the task.
        exemplars_from: where solved examples come from, for people.
        other_metrics: names of metrics reported beside ``metric``.
        answer_tokens: the longest answer, in tokens, where text is generated.
        stop: texts that end an answer.
        reorders: whether its options may be asked in other orders.
    """

    name: str
    title: str
    follows: str
    version: int
    shots: int
    metric: str
    predict: Predict
    files: str
    folders: tuple[str, ...]
    marker: str
    tasks: Callable[[Path], Mapping[str, str]]
    read: Callable[[Path, str, ReadingChoices], BenchmarkTask]
    exemplars_from: str
    other_metrics: tuple[str, ...] = ()
    answer_tokens: int = 256
    stop: tuple[str, ...] = ()
    reorders: bool = False

    def find_folder(self, given: Path) -> Path:
        """Finds the benchmark's folder: the one given, or one of its usual names below it.

        Raises:
            UserError: none of them holds it.
        """
        for folder in (given, *(given / name for name in self.folders)):
            if (folder / self.marker).exists():
                return folder
        raise UserError(
            f"{self.title} is looked for in {str(given)!r}, which has no {self.marker!r}, nor has a folder "
            f"{' or '.join(map(repr, self.folders))} below it. Name the folder that holds {self.files} (--benchmark_dir)."
        )
