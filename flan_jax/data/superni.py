"""Super-NaturalInstructions: its original task files and official split lists as tasks and a mixture.

One file is one task: a definition in words, worked examples, and instances with one or more
accepted outputs. The benchmark (Wang et al. 2022, arXiv:2204.07705) trains on the tasks of
``splits/default/train_tasks.txt`` with the definition and two positive examples in the input,
and scores ROUGE-L, the best over the references, on the first 100 instances of every task of
``splits/default/test_tasks.txt``. No test task has a category of a training task.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.data.sources import digest, file_digest, load_json, missing_data, resolve
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.mixing.rates import Policy, Proportional
from flan_jax.tasks.hashing import counter_hash
from flan_jax.tasks.spec import Prompted, Record, TaskSpec, Template, Unreadable

TRAINING = "training"
EVALUATION = "evaluation"

_log = logging.getLogger(__name__)
_HEAD_BYTES = 1 << 16  # the categories stand among the first fields, before examples and instances
_CATEGORIES = re.compile(r'"Categories"\s*:\s*')


@dataclasses.dataclass(frozen=True)
class SuperNIFile:
    """The records of one task file. See ``superni_file``.

    A record has ``id``, ``input``, ``output`` (the references, blank ones left out),
    ``definition`` and ``positive`` (pairs of an input and its output).
    """

    path: str
    role: str = TRAINING
    max_instances: int = 100
    max_validation: int = 20
    seed: int = 0

    @property
    def splits(self) -> tuple[str, ...]:
        """A training task has ``train`` and ``validation``, an evaluation task ``test``."""
        return ("train", "validation") if self.role == TRAINING else ("test",)

    def _file(self, split: str) -> Path:
        if split not in self.splits:
            raise UserError(f"{self.describe()} has no split {split!r}. It has: {', '.join(self.splits)}.")
        path = resolve(self.path)
        if not path.is_file():
            raise missing_data(self.describe(), path)
        return path

    def records(self, split: str, unreadable: Unreadable | None = None) -> Iterator[Record]:
        """Yields the split's instances in the file's order.

        Instances without any output that is not blank cannot be learned or scored; they are left
        out, and a log line counts them. An unreadable instance keeps its place, and is on one
        side of the split as if its JSON were its input.

        Raises:
            UserError: no such file, or not one of this schema; named by file and instance.
        """
        path = self._file(split)
        stat = path.stat()
        definition, positive, instances = _content(path, stat.st_size, stat.st_mtime_ns)
        if unreadable is None:
            for instance in instances:
                if "error" in instance:
                    raise UserError(str(instance["error"]))
        if self.role == EVALUATION:
            # The benchmark counts before anything is left out: its first 100 are these.
            instances = instances[: self.max_instances]
        usable = [instance for instance in instances if instance["output"] or "error" in instance]
        if len(usable) < len(instances):
            _log.warning(
                "%s: %d of %d instances have no output and are left out",
                path,
                len(instances) - len(usable),
                len(instances),
            )
        if self.role == TRAINING:
            usable = self._part(usable, split)
        for instance in usable:
            if "error" not in instance:
                yield {**instance, "definition": definition, "positive": positive}
            elif unreadable is not None:
                unreadable(instance["error"])

    def _part(self, instances: Sequence[dict[str, Any]], split: str) -> list[dict[str, Any]]:
        """A tenth, at most ``max_validation``, for validation; at most ``max_instances`` of the rest for training.

        Both are drawn by a hash of the input text, so that equal inputs never stand on both sides
        and a longer file of the same task does not reorder what a shorter one held.
        """
        groups: dict[str, list[int]] = {}
        for index, instance in enumerate(instances):
            groups.setdefault(instance["input"], []).append(index)
        drawn = [
            groups[text] for text in sorted(groups, key=lambda text: (counter_hash("superni", self.seed, text), text))
        ]
        wanted = min(self.max_validation, max(1, len(instances) // 10)) if len(groups) > 1 else 0
        validation: list[int] = []
        while drawn and len(validation) < wanted:
            validation += drawn.pop(0)
        chosen = (
            validation if split == "validation" else [index for group in drawn for index in group][: self.max_instances]
        )
        return [instances[index] for index in sorted(chosen)]

    def fingerprint(self, split: str) -> str:
        """Digest of the file's content and of how it is split."""
        path = self._file(split)
        return digest("superni 1", file_digest(path), split, self.max_instances, self.max_validation, self.seed)

    def size_hint(self, split: str) -> int:
        """Bytes of the file."""
        return self._file(split).stat().st_size

    def describe(self) -> str:
        """The file and its part in the benchmark."""
        return f"Super-NaturalInstructions {self.role} task {self.path!r}"


def superni_file(
    path: str | Path, *, role: str = TRAINING, max_instances: int = 100, max_validation: int = 20, seed: int = 0
) -> SuperNIFile:
    """A source over one original task file; a relative path starts at the data folder.

    Args:
        path: the ``*.json`` file.
        role: ``training`` (splits ``train`` and ``validation``) or ``evaluation`` (``test``: the
            first ``max_instances``, as the benchmark takes them).
        max_instances: at most so many records of ``train`` or ``test``.
        max_validation: at most so many records of ``validation``.
        seed: which instances of a training task validate.

    Raises:
        UserError: an unknown role or a limit below 1.
    """
    if role not in (TRAINING, EVALUATION):
        raise UserError(
            f"Super-NaturalInstructions task {str(path)!r}: role={role!r} must be {TRAINING!r} or {EVALUATION!r}."
        )
    if max_instances < 1 or max_validation < 1:
        raise UserError(
            f"Super-NaturalInstructions task {str(path)!r}: the limits on instances must be at least 1, not {max_instances} and {max_validation}."
        )
    return SuperNIFile(str(path), role, max_instances, max_validation, seed)


@functools.lru_cache(maxsize=1)  # one file at a time: its splits are read one after the other
def _content(
    path: Path, size: int, modified_ns: int
) -> tuple[str, tuple[tuple[str, str], ...], tuple[dict[str, Any], ...]]:
    """Definition, positive examples and instances of a file; an unreadable instance has an ``error``."""
    content = load_json(path)
    definition, positive = _instructions(content, path)
    instances = []
    for index, instance in enumerate(content["Instances"]):
        try:
            instances.append(_instance(instance, f"{path}, Instances[{index}]"))
        except UserError as error:
            instances.append({"input": json.dumps(instance), "output": (), "error": error})
    return definition, positive, tuple(instances)


def _instructions(content: Any, path: Path) -> tuple[str, tuple[tuple[str, str], ...]]:
    keys = ("Definition", "Positive Examples", "Instances")
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(
            f"{path}: no {missing[0]!r}. A Super-NaturalInstructions task file is an object with {', '.join(keys)}."
        )
    definition = content["Definition"]
    if isinstance(definition, list) and definition:
        definition = definition[0]
    if not isinstance(definition, str) or not definition.strip():
        raise UserError(f"{path}: 'Definition' must be a text, or a list that starts with one.")
    if not isinstance(content["Instances"], list) or not isinstance(content["Positive Examples"], list):
        raise UserError(f"{path}: 'Instances' and 'Positive Examples' must be lists.")
    positive = []
    for index, example in enumerate(content["Positive Examples"]):
        shown = _instance(example, f"{path}, Positive Examples[{index}]")
        if shown["output"]:
            positive.append((shown["input"], shown["output"][0]))
    return definition.strip(), tuple(positive)


def _instance(instance: Any, where: str) -> dict[str, Any]:
    if not isinstance(instance, dict) or not isinstance(instance.get("input"), str) or "output" not in instance:
        raise UserError(f"{where}: must be an object with a text 'input' and an 'output'. Correct or remove it.")
    outputs = instance["output"] if isinstance(instance["output"], list) else [instance["output"]]
    if not all(isinstance(output, str) for output in outputs):
        raise UserError(f"{where}: 'output' must be a text or a list of texts. Correct or remove it.")
    kept = tuple(dict.fromkeys(output.strip() for output in outputs if output.strip()))
    return {"id": str(instance.get("id", "")), "input": instance["input"].strip(), "output": kept}


@dataclasses.dataclass(frozen=True)
class SuperNIFields:
    """Record → slots: the definition, worked examples in four styles, the input, the references.

    Attributes:
        num_positive: worked examples shown at most; the benchmark's default is 2.
        max_characters: an example is shown only while definition, examples and input stay within
            it. An input cut at its end would lose the very question; an example is dropped instead.
    """

    num_positive: int = 2
    max_characters: int = 3500

    def __call__(self, record: Record) -> Mapping[str, Any]:
        """The slots of one record. An examples slot ends in a blank line, or is empty."""
        length = len(record["definition"]) + len(record["input"])
        shown = []
        for given, answer in record["positive"][: self.num_positive]:
            length += len(given) + len(answer)
            if length > self.max_characters:
                break
            shown.append((given, answer))
        return {
            "definition": record["definition"],
            "input": record["input"],
            "answer": record["output"],
            **_in_every_style(tuple(shown)),
        }


# Every part starts with words of its own: T5's SentencePiece turns line ends into spaces.
_STYLES = {
    "examples": "Example {n}. Input: {x}\nOutput: {y}\n\n",
    "examples_qa": "Question: {x}\nAnswer: {y}\n\n",
    "examples_solved": "Solved case {n}: {x}\nSolution: {y}\n\n",
    "examples_prose": "For instance, when given: {x}\nthe right response is: {y}\n\n",
}


@functools.lru_cache(maxsize=64)  # the records of a file show the same few
def _in_every_style(shown: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {
        slot: "".join(style.format(n=n, x=x, y=y) for n, (x, y) in enumerate(shown, start=1))
        for slot, style in _STYLES.items()
    }


SLOTS = ("definition", "input", "answer", "examples", "examples_qa", "examples_solved", "examples_prose")

TEMPLATES = (
    Template("Task definition: {definition}\n\n{examples}Your turn. Input: {input}\nOutput:"),
    Template("{definition}\n\n{examples_qa}Question: {input}\nAnswer:"),
    Template("Follow these instructions. {definition}\n\n{examples_solved}New case: {input}\nSolution:"),
    Template("What to do: {definition}\n\n{examples_prose}Now you are given: {input}\nThe right response is:"),
    Template(
        "Read the instruction and answer for the last input. Instruction: {definition}\n\n{examples}Last input: {input}\nOutput:"
    ),
    Template("{definition}\n\n{examples_prose}Do the same for this: {input}\nResponse:"),
    Template("Here is a job. {definition}\n\n{examples_solved}Work on this one: {input}\nSolution:"),
    Template("Instructions: {definition}\n\n{examples_qa}Here is the question for you: {input}\nYour answer:"),
    Template(
        "You will get an input and should write the output that is asked for. {definition}\n\n{examples}Input to work on: {input}\nOutput:"
    ),
    Template("Guideline: {definition}\n\n{examples_solved}Apply the guideline to the following: {input}\nResult:"),
)


def label(text: str) -> str:
    """A name of letters, digits and underscores: ``"Fill in The Blank"`` → ``"fill_in_the_blank"``."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return name if name.isidentifier() else f"_{name}"


def category(path: Path) -> str:
    """The first category of a task file, without parsing its instances where that can be helped.

    Raises:
        UserError: no category.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).decode(errors="ignore")
    found = _CATEGORIES.search(head)
    categories: Any = None
    if found:
        with contextlib.suppress(json.JSONDecodeError):  # cut in the middle: the whole file decides
            categories, _ = json.JSONDecoder().raw_decode(head, found.end())
    if not categories:
        content = load_json(path)
        categories = content.get("Categories") if isinstance(content, dict) else None
    if isinstance(categories, list) and categories and isinstance(categories[0], str) and categories[0].strip():
        return categories[0]
    raise UserError(
        f"{path}: no 'Categories'. A Super-NaturalInstructions task file lists at least one, which says what it is held out with."
    )


def superni_task(path: str | Path, *, fields: SuperNIFields | None = None, **source: Any) -> TaskSpec:
    """The ``TaskSpec`` of one task file; only the head of the file is read.

    Args:
        path: the file; relative paths start at the data folder.
        fields: how many worked examples an input shows.
        **source: as for ``superni_file``.

    Raises:
        UserError: no such file, or a file without a category.
    """
    handle = superni_file(path, **source)
    there = resolve(path)
    if not there.is_file():
        raise missing_data(handle.describe(), there)
    return TaskSpec(
        name=label(there.stem),
        cluster=label(category(there)).lower(),
        source=handle,
        fields=fields or SuperNIFields(),
        slots=SLOTS,
        templates=TEMPLATES,
        metric="rougeL",
        predict="generate",
    )


def read_split(path: Path) -> tuple[str, ...]:
    """The task names of an official split list, one a line."""
    if not path.is_file():
        raise missing_data("The official task list of Super-NaturalInstructions", path)
    return tuple(dict.fromkeys(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()))


def superni_mixture(
    name: str = "superni",
    *,
    folder: str | Path = "superni",
    track: str = "default",
    num_positive: int = 2,
    max_train_instances: int = 100,
    max_test_instances: int = 100,
    max_characters: int = 3500,
    test_templates: tuple[int, ...] | None = (0,),
    policy: Policy | None = None,
    seed: int = 0,
) -> Mixture:
    """The benchmark over the task files that are on this machine.

    Args:
        name: the mixture's name.
        folder: holds ``tasks/*.json`` and ``splits/``; relative paths start at the data folder.
        track: the folder below ``splits``.
        num_positive: worked examples in an input, 0 to show the definition alone.
        max_train_instances: training instances of a task at most.
        max_test_instances: test instances of a task at most.
        max_characters: see ``SuperNIFields``.
        test_templates: what test tasks are scored with. The benchmark has one encoding; template
            0 is the nearest to it. ``None`` for all ten.
        policy: how training tasks share the draws; proportional to their sizes when not given.
        seed: which instances of a training task validate.

    Returns:
        Entries: the training tasks. Suites: ``held_out`` (test tasks, ROUGE-L) and ``held_in``
        (validation instances of the training tasks). Listed tasks without a file are counted in
        a log line.

    Raises:
        UserError: a missing folder or list, or no training task at all.
    """
    if num_positive < 0:
        raise UserError(f"Mixture {name!r}: num_positive={num_positive} must be 0 or more.")
    root = resolve(folder)
    tasks = root / "tasks"
    if not tasks.is_dir():
        raise missing_data("The task files of Super-NaturalInstructions (its folder 'tasks')", tasks)
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
    fields = SuperNIFields(num_positive, max_characters)

    def specs(part: str, role: str, limit: int) -> list[TaskSpec]:
        return [
            superni_task(
                Path(folder) / "tasks" / f"{task}.json", fields=fields, role=role, max_instances=limit, seed=seed
            )
            for task in present[part]
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
