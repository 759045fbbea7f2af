"""Makes tasks and a mixture of Super-NaturalInstructions' original task files and official split lists.

One file is one task: a definition in words, worked examples, and instances with one or more
accepted outputs. The benchmark (Wang et al. 2022, arXiv:2204.07705) trains on the tasks of
``splits/default/train_tasks.txt`` with the definition and two positive examples in the input,
and scores ROUGE-L, the best over the references, on the first 100 instances of every task of
``splits/default/test_tasks.txt``. No test task has a category of a training task.
"""

import dataclasses
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flan_jax.data.collections.superni_encoding import ENCODINGS, SLOTS, TEMPLATES, SuperNIFields
from flan_jax.data.collections.superni_files import (
    EVALUATION,
    TRAINING,
    Metadata,
    SuperNIFile,
    category,
    metadata,
    superni_file,
)
from flan_jax.data.file_readers.compressed import stem_of
from flan_jax.data.sources.base import missing_data, resolve
from flan_jax.errors import UserError, did_you_mean
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.mixing.policies import Policy, Proportional
from flan_jax.tasks.spec import Prompted, TaskSpec

__all__ = [
    "ENCODINGS",
    "EVALUATION",
    "TRAINING",
    "Metadata",
    "SuperNIFields",
    "SuperNIFile",
    "TaskFilter",
    "category",
    "label",
    "metadata",
    "niv2_tasks",
    "read_split",
    "superni_file",
    "superni_mixture",
    "superni_task",
]

_log = logging.getLogger(__name__)
_MMLU = "mmmlu"  # as the benchmark's file names spell it, all 57 of them


ENGLISH_TRACK, ENGLISH_METRIC = "default", "rougeL"
TOKENIZER = "tokenizers/gpt2"
"""Where the data folder holds GPT-2's tokenizer, by whose tokens the published scores of other languages are computed."""


@dataclasses.dataclass(frozen=True)
class TaskFilter:
    """Selects task files by category and language. A task with anything outside of a given set is left out.

    Attributes:
        categories: the categories taken, by the benchmark's names or ours; ``()`` for all.
        input_languages: languages of inputs; ``()`` for all.
        output_languages: languages of outputs; ``()`` for all.
        instruction_languages: languages of definitions; ``()`` for all.
        mmlu: take the tasks made from MMLU. FLAN 2022 trains without them, as it
            measures on MMLU.
    """

    categories: tuple[str, ...] = ()
    input_languages: tuple[str, ...] = ()
    output_languages: tuple[str, ...] = ()
    instruction_languages: tuple[str, ...] = ()
    mmlu: bool = True

    def __call__(self, path: Path) -> bool:
        """Tells whether the task of a file is taken; where languages are given, a file that names none is not."""
        if not self.mmlu and _MMLU in path.stem:
            return False
        if self == TaskFilter(mmlu=self.mmlu):
            return True
        found = metadata(path)
        pairs = (
            (self.input_languages, found.input_languages),
            (self.output_languages, found.output_languages),
            (self.instruction_languages, found.instruction_languages),
        )
        if not all(not wanted or (own and set(own) <= set(wanted)) for wanted, own in pairs):
            return False
        return not self.categories or label(found.categories[0]).lower() in {
            label(wanted).lower() for wanted in self.categories
        }


def label(text: str) -> str:
    """Turns a text into a name of letters, digits and underscores: ``"Fill in The Blank"`` → ``"Fill_in_The_Blank"``."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return name if name.isidentifier() else f"_{name}"


def superni_task(
    path: str | Path, *, fields: SuperNIFields | None = None, metric: str = ENGLISH_METRIC, **source: Any
) -> TaskSpec:
    """Makes the ``TaskSpec`` of one task file; only the head of the file is read.

    Args:
        path: the file; relative paths start at the data folder.
        fields: how many worked examples an input shows.
        metric: what answers are measured by.
        **source: as for ``superni_file``.

    Raises:
        UserError: no such file, or a file without a category.
    """
    handle = superni_file(path, **source)
    there = resolve(path)
    if not there.is_file():
        raise missing_data(handle.describe(), there)
    return TaskSpec(
        name=label(stem_of(there)),
        cluster=label(category(there)).lower(),
        source=handle,
        fields=fields or SuperNIFields(),
        slots=SLOTS,
        templates=TEMPLATES,
        metric=metric,
        predict="generate",
        collection="niv2",
    )


def read_split(path: Path) -> tuple[str, ...]:
    """Reads the task names of an official split list, one a line."""
    if not path.is_file():
        raise missing_data("The official task list of Super-NaturalInstructions", path)
    return tuple(dict.fromkeys(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()))


def superni_mixture(
    name: str = "superni",
    *,
    folder: str | Path = "superni",
    track: str = "default",
    num_positive: int = 2,
    num_negative: int = 0,
    explanations: bool = False,
    max_train_instances: int = 100,
    max_test_instances: int = 100,
    max_characters: int = 3500,
    train: TaskFilter | None = None,
    test: TaskFilter | None = None,
    test_templates: tuple[int, ...] | None = (0,),
    policy: Policy | None = None,
    seed: int = 0,
    metric: str = "",
) -> Mixture:
    """Makes the benchmark of the task files that are on this machine.

    Args:
        name: the mixture's name.
        folder: holds ``tasks/*.json`` and ``splits/``; relative paths start at the data folder.
        track: the folder below ``splits``: ``default`` is the English track, ``xlingual`` the other.
        num_positive: worked examples in an input, 0 to show the definition alone.
        num_negative: examples of wrong outputs in an input.
        explanations: show why an example is right or wrong.
        max_train_instances: training instances of a task at most.
        max_test_instances: test instances of a task at most.
        max_characters: see ``SuperNIFields``.
        train: which of the training tasks are taken; all when not given.
        test: which of the test tasks are taken; all when not given.
        test_templates: what test tasks are scored with. The benchmark has one encoding; template
            0 is the nearest to it. ``None`` for all ten.
        policy: how training tasks share the draws; proportional to their sizes when not given.
        seed: which instances of a training task validate.
        metric: what answers are measured by; ``""`` for ROUGE-L, over the words of any script on another track than
            the English one. Its published score is ``rougeL_tokens:FOLDER`` with GPT-2's tokenizer in FOLDER, and is
            taken where that lies in the data folder as ``tokenizers/gpt2``.

    Returns:
        Entries: the training tasks. Suites: ``held_out`` (test tasks, ROUGE-L) and ``held_in``
        (validation instances of the training tasks). Listed tasks without a file are counted in
        a log line.

    Raises:
        UserError: a missing folder or list, or no training task at all.
    """
    fields = _fields(name, num_positive, num_negative, explanations, max_characters)
    listed = _listed_files(name, _tasks_folder(folder), track)
    chosen = {
        part: _chosen(name, listed[part], wanted or TaskFilter(), part)
        for part, wanted in (("train", train), ("test", test))
    }

    def specs(part: str, role: str, limit: int) -> list[TaskSpec]:
        return [
            superni_task(
                Path(folder) / "tasks" / path.name,
                fields=fields,
                metric=metric or _metric_of(track),
                role=role,
                max_instances=limit,
                seed=seed,
            )
            for path in chosen[part]
        ]

    training = tuple(Prompted(spec) for spec in specs("train", TRAINING, max_train_instances))
    held_out = tuple(
        Prompted(spec, template_ids=test_templates) for spec in specs("test", EVALUATION, max_test_instances)
    )
    suites = (Suite("held_out", held_out, split="test", held_out=True),) if held_out else ()
    return Mixture(
        name,
        tuple(Entry(task) for task in training),
        policy=policy or Proportional(),
        suites=(*suites, Suite("held_in", training, split="validation")),
    )


def _listed_files(name: str, tasks: Path, track: str) -> dict[str, list[Path]]:
    """Finds the files of a track's lists of training and test tasks; those that are missing are counted in a log line.

    Raises:
        UserError: a missing list, a task in both, or no training task at all.
    """
    root = tasks.parent
    lists = {part: read_split(root / "splits" / track / f"{part}_tasks.txt") for part in ("train", "test")}
    both = sorted(set(lists["train"]) & set(lists["test"]))
    if both:
        raise UserError(
            f"Mixture {name!r}: {both[0]!r} is in both lists of {track!r}, but a test task is never trained on. Remove it from one."
        )
    present = {part: [task for task in names if (tasks / f"{task}.json").is_file()] for part, names in lists.items()}
    for part, names in lists.items():
        if len(present[part]) < len(names):
            _log.warning(
                "Super-NaturalInstructions in %s: %d of %d %s tasks are there; the others are left out",
                root,
                len(present[part]),
                len(names),
                part,
            )
    if not present["train"]:
        raise UserError(
            f"Mixture {name!r}: none of the {len(lists['train'])} training tasks of {track!r} is in {str(tasks)!r}. Put the benchmark's task files there."
        )
    return {part: [tasks / f"{task}.json" for task in names] for part, names in present.items()}


def _metric_of(track: str) -> str:
    """Returns the name of a track's metric on this machine."""
    if track == ENGLISH_TRACK:
        return ENGLISH_METRIC
    tokenizer = resolve(TOKENIZER)
    return f"rougeL_tokens:{tokenizer}" if tokenizer.is_dir() else "rougeL_unicode"


def niv2_tasks(
    *,
    folder: str | Path = "superni",
    fields: SuperNIFields | None = None,
    max_train_instances: int = 10_000,
    train: TaskFilter | None = None,
    seed: int = 0,
) -> tuple[TaskSpec, ...]:
    """Makes a task of every task file, as FLAN 2022 trains on them: without those made from MMLU, none held out.

    Args:
        folder: holds ``tasks/*.json``; relative paths start at the data folder.
        fields: how examples are put into words; when not given, the definition alone.
        max_train_instances: training instances of a task at most; no published task has as many.
        train: which tasks are taken; when not given, all but MMLU's.
        seed: which instances of a task validate.

    Raises:
        UserError: a missing folder, or no task in it.
    """
    files = sorted(_tasks_folder(folder).glob("*.json"))
    return tuple(
        superni_task(
            Path(folder) / "tasks" / path.name,
            fields=fields or ENCODINGS["def"],
            max_instances=max_train_instances,
            seed=seed,
        )
        for path in _chosen("niv2", files, train or TaskFilter(mmlu=False), "train")
    )


def _fields(name: str, num_positive: int, num_negative: int, explanations: bool, max_characters: int) -> SuperNIFields:
    for option, number in (("num_positive", num_positive), ("num_negative", num_negative)):
        if number < 0:
            raise UserError(f"Mixture {name!r}: {option}={number} must be 0 or more.")
    if explanations and not num_positive + num_negative:
        raise UserError(f"Mixture {name!r} explains examples and shows none. Give num_positive, or no explanations.")
    return SuperNIFields(num_positive, max_characters, num_negative, explanations)


def _tasks_folder(folder: str | Path) -> Path:
    tasks = resolve(folder) / "tasks"
    if not tasks.is_dir():
        raise missing_data("The task files of Super-NaturalInstructions (its folder 'tasks')", tasks)
    return tasks


def _chosen(name: str, files: Sequence[Path], wanted: TaskFilter, part: str) -> list[Path]:
    """Selects the files that a filter takes.

    Raises:
        UserError: a category that no file has, or nothing left to train on.
    """
    if wanted.categories and files:
        known = {label(category(path)).lower() for path in files}
        for one in wanted.categories:
            if label(one).lower() not in known:
                raise UserError(
                    f"Mixture {name!r}: no {part} task has the category {one!r}.{did_you_mean(label(one).lower(), known)}"
                )
    chosen = [path for path in files if wanted(path)]
    if part == "train" and not chosen:
        raise UserError(f"Mixture {name!r}: {wanted} takes none of the {len(files)} training tasks. Ask for less.")
    return chosen
