"""One benchmark as a user asks for it, made into a suite of evaluation tasks that a model reads."""

import dataclasses
import fnmatch
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.data.benchmarks.benchmark import Benchmark, BenchmarkTask, ReadingChoices, ShotOrder
from flan_jax.data.benchmarks.registry import BENCHMARKS
from flan_jax.data.benchmarks.shots import ShotChooser
from flan_jax.data.sources.base import digest, file_digest, resolve
from flan_jax.data.tokenizers.protocol import keeps_newlines
from flan_jax.errors import UserError, unknown
from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.experiments.suites.prompts import PromptReader, read_questions


@dataclasses.dataclass(frozen=True)
class BenchmarkRequest:
    """A benchmark as a user asks for it.

    Attributes:
        benchmark: its name.
        folder: that holds its files, or a folder of that; a relative one starts at the data folder.
        shots: solved examples; ``None`` for as many as published.
        shot_order: how they are chosen; ``None`` for the benchmark's own way.
        exemplars: a file of solved examples; ``""`` for those of the folder.
        tasks: patterns (``*biology``) of names of tasks or of categories; none for all.
        limit: questions of a task, the first ones; 0 for all.
        option_orders: orders of its options that each question is asked in.
        seed: of what is drawn.
        chat: a prompt is a user's turn in the chat template of a published model's folder.

    Raises:
        UserError: an unknown benchmark, or a number out of range.
    """

    benchmark: str
    folder: str = ""
    shots: int | None = None
    shot_order: ShotOrder | None = None
    exemplars: str = ""
    tasks: tuple[str, ...] = ()
    limit: int = 0
    option_orders: int = 1
    seed: int = 0
    chat: bool = False

    def __post_init__(self) -> None:
        declared = self.declared
        for name, value, least in (
            ("shots", self.shots, 0),
            ("limit", self.limit, 0),
            ("option_orders", self.option_orders, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"--{name} {value} must be at least {least}.")
        if self.option_orders > 1 and not declared.reorders:
            able = [name for name in BENCHMARKS if BENCHMARKS.get(name).reorders]
            raise UserError(
                f"--option_orders {self.option_orders}: the options of {self.benchmark} are part of its questions' words, so "
                f"they have one order. Those of {' and '.join(able)} may have others."
            )

    @property
    def declared(self) -> Benchmark:
        """The benchmark's declaration."""
        return BENCHMARKS.get(self.benchmark)

    @property
    def wanted_shots(self) -> int:
        """Solved examples of a question."""
        return self.declared.shots if self.shots is None else self.shots

    @property
    def suffix(self) -> str:
        """Returns what names of results say of a setting that is not the published one: ``_0shot_limit20``."""
        parts = [
            f"{self.wanted_shots}shot" if self.wanted_shots != self.declared.shots else "",
            self.shot_order or "" if self.wanted_shots else "",
            f"{self.option_orders}orders" if self.option_orders > 1 else "",
            "chat" if self.chat else "",
            f"limit{self.limit}" if self.limit else "",
        ]
        return "".join(f"_{part}" for part in parts if part)

    @property
    def suite(self) -> str:
        """The suite's name in results; with a choice of tasks, that is named too, as their mean is another number."""
        return f"{self.benchmark}{self.suffix}{':' if self.tasks else ''}{','.join(self.tasks)}"


@dataclasses.dataclass(frozen=True)
class BenchmarkSuite:
    """A benchmark, ready to be measured.

    Attributes:
        request: what was asked for.
        tasks: of the suite.
        settings: what decides its numbers beside weights and tasks, as JSON values.
        texts: task → example → what is looked for in training data: the question and its options.
    """

    request: BenchmarkRequest
    tasks: tuple[EvalTask, ...]
    settings: Mapping[str, Any]
    texts: Mapping[str, Mapping[int, Sequence[str]]]


def benchmark_suite(request: BenchmarkRequest, reader: PromptReader) -> BenchmarkSuite:
    """Reads a benchmark and makes its prompts.

    Raises:
        UserError: its files are missing or of another form, no task matches, or there are fewer solved examples than shots.
    """
    declared = request.declared
    folder = declared.find_folder(resolve(request.folder))
    exemplars = resolve(request.exemplars) if request.exemplars else None
    if exemplars is not None and not exemplars.exists():
        raise UserError(f"--exemplars {request.exemplars!r}: there is no such file. Name the file of solved examples.")
    choices = ReadingChoices(request.wanted_shots, exemplars, request.option_orders, request.limit, request.seed)
    tasks, texts, orders, dropped = [], {}, set(), 0
    for name in select_tasks(request.tasks, declared.tasks(folder), declared.name):
        task = declared.read(folder, name, choices)
        orders.add(order := request.shot_order or task.shot_order)
        chooser = ShotChooser(task, request.wanted_shots, order=order, seed=request.seed)
        examples, fit = read_questions(task, chooser, request.wanted_shots, reader)
        _check_options(examples, reader, declared.name)
        dropped += fit.dropped
        notes = (
            *task.notes,
            *fit.notes(request.wanted_shots, reader.room, chat=reader.chat is not None),
            *_vocabulary_notes(reader, examples),
        )
        asked: dict[str, str | int] = {"task": task.name, "mode": declared.name, "shots": request.wanted_shots}
        made = _eval_task(declared, task, f"{task.name}{request.suffix}", examples, notes)
        tasks.append(dataclasses.replace(made, asked=asked))
        texts[tasks[-1].name] = {q.example_id: [q.asks["question"], *q.asks.get("choices", ())] for q in task.questions}
    settings = {
        "benchmark": declared.name,
        "prompt_format": declared.version,
        "shots": request.wanted_shots,
        "shot_order": "none" if not request.wanted_shots else "/".join(sorted(orders)),
        "exemplars": "folder" if exemplars is None else _content_digest(exemplars),
        "shots_left_out": dropped,
        "limit": request.limit,
        "option_orders": request.option_orders,
        "seed": request.seed,
    }
    return BenchmarkSuite(request, tuple(tasks), settings, texts)


def select_tasks(patterns: Sequence[str], known: Mapping[str, str], benchmark: str) -> list[str]:
    """Selects the tasks whose name or category matches one of the patterns; all where there is none.

    Args:
        patterns: ``*`` stands for any letters; a name may have the benchmark's in front.
        known: task → category.
        benchmark: its name.

    Raises:
        UserError: a pattern matches nothing.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        short = pattern.removeprefix(f"{benchmark}_")
        found = {
            name
            for name, category in known.items()
            if any(fnmatch.fnmatchcase(value, wanted) for value in (name, category) for wanted in (pattern, short))
        }
        if not found:
            raise unknown(f"task or category of {benchmark}", pattern, {*known, *known.values()})
        chosen |= found
    return [name for name in known if not patterns or name in chosen]


def _vocabulary_notes(reader: PromptReader, examples: Sequence[EvalExample]) -> tuple[str, ...]:
    """Says what the vocabulary does to the prompts' texts, a sentence each."""
    notes = []
    if not keeps_newlines(reader.vocabulary):
        notes.append("The vocabulary drops line ends, so prompts are read in one line.")
    if reader.vocabulary.unk_id is not None:
        total = sum(len(example.inputs) for example in examples)
        count = sum(int(np.count_nonzero(example.inputs == reader.vocabulary.unk_id)) for example in examples)
        if count:
            share = f"{100 * count / total:.1f}%"
            notes.append(f"{count:,} of {total:,} tokens of the prompts ({share}) are unknown to the vocabulary.")
    return tuple(notes)


def _check_options(examples: Sequence[EvalExample], reader: PromptReader, benchmark: str) -> None:
    """Refuses options that the vocabulary reads alike: whichever is first would be chosen.

    Raises:
        UserError: names two of them.
    """
    for options in {example.options for example in examples}:
        seen: dict[tuple[int, ...], str] = {}
        for option in options:
            other = seen.setdefault(reader.answer_ids(option), option)
            if other != option:
                raise UserError(
                    f"Vocabulary {reader.vocabulary.name!r} reads the options {other!r} and {option!r} alike, so a model "
                    f"cannot choose between them: {benchmark} cannot be measured with it."
                )


def _eval_task(
    declared: Benchmark, task: BenchmarkTask, name: str, examples: Sequence[EvalExample], notes: tuple[str, ...]
) -> EvalTask:
    content = hashlib.sha256()
    for example in examples:
        content.update(example.inputs.tobytes())
        content.update(repr((example.options, example.references, example.example_id, example.template_id)).encode())
    return EvalTask(
        name,
        task.category,
        declared.metric,
        declared.predict,
        examples,
        other_metrics=declared.other_metrics,
        data=content.hexdigest(),
        notes=notes,
    )


def _content_digest(path: Path) -> str:
    """Of a file, or of the files of a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return digest(*(file_digest(file) for file in files if file.is_file()))[:16]
