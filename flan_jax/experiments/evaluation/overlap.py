"""Labels measured examples by their overlap with what the run was trained on."""

import collections
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax

from flan_jax.data.decontamination.overlap import Overlap, OverlapIndex
from flan_jax.data.decontamination.record_texts import raw_record_texts
from flan_jax.data.sources.base import digest
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.eval.examples import EvalTask
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import RunData
from flan_jax.files import atomic_write_text
from flan_jax.store.stored_task import StoredTask
from flan_jax.tasks.task import Task

OVERLAP = "overlap.json"
_VERSION = 2

TaskSplit = tuple[str, str]
_Labels = dict[int, Overlap]
"""Label by the record's index."""
_Searched = tuple[str, str, _Labels]
"""Task, split and labels of a search."""
_found: collections.OrderedDict[tuple[str, str], _Searched] = collections.OrderedDict()
"""What this process searched for lately: runs of a study that differ in their seed train on the same texts."""
_MOST_FOUND = 4096


def label_overlap(
    tasks: Mapping[TaskSplit, EvalTask],
    declared: Mapping[TaskSplit, Task],
    data: RunData,
    config: RunConfig,
    *,
    log: Callable[[str], None] = lambda line: None,
) -> dict[TaskSplit, EvalTask]:
    """Labels the examples of tasks by whether their records stand in the training tasks of the run's store.

    Texts of training examples are those that were prepared: cut to the run's lengths, templates around them. Of a
    measured record the texts that its task reads are searched for, without a template; of one of seqio's registry the
    whole prompt. Results are kept in ``overlap.json`` of the run's folder, those of other ways of asking beside them.

    Args:
        tasks: what is measured, by task and split.
        declared: the tasks themselves.
        data: the run's, with its training tasks.
        config: of the run.
        log: told before the training data are read.
    """
    options = config.evaluation
    if not options.overlap_ngram or not data.train or not tasks:
        return dict(tasks)
    trained = sorted(f"{task.name} {task.fingerprint}" for task in data.train)
    searched = digest("overlap", _VERSION, options.overlap_ngram, options.overlap_share, trained)
    keys = {place: _key(task, place[1]) for place, task in tasks.items()}
    path = Path(config.model_dir) / OVERLAP
    kept = _read(path, searched)
    lacking = [place for place in tasks if keys[place] not in kept]
    missing = {place: tasks[place] for place in lacking if (searched, keys[place]) not in _found}
    if missing:
        log(f"looking for the records of {len(missing)} measured tasks in {len(data.train)} training tasks")
        for place, labels in _search(missing, declared, data, config).items():
            _found[searched, keys[place]] = (*place, labels)
    if lacking:
        kept |= {keys[place]: _found[searched, keys[place]] for place in lacking}
        if jax.process_index() == 0 and path.parent.is_dir():
            _write(path, searched, kept)
    while len(_found) > _MOST_FOUND:
        _found.popitem(last=False)
    return {place: _labeled(task, kept[keys[place]][2]) for place, task in tasks.items()}


def _key(task: EvalTask, split: str) -> str:
    """Digests which records of a task are looked for, however they are asked and whatever the result is called."""
    records = sorted({example.example_id for example in task.examples})
    return digest("records", split, task.data, records)


def _search(
    tasks: Mapping[TaskSplit, EvalTask], declared: Mapping[TaskSplit, Task], data: RunData, config: RunConfig
) -> dict[TaskSplit, _Labels]:
    places: list[tuple[TaskSplit, int]] = []
    texts: list[list[str]] = []
    for key, task in tasks.items():
        for record, own in _measured_texts(task, declared[key], key[1]):
            places.append((key, record))
            texts.append(own)
    found: dict[TaskSplit, _Labels] = {key: {} for key in tasks}
    for (key, record), label in zip(places, overlap_labels(texts, data, config), strict=True):
        found[key][record] = label
    return found


def overlap_labels(records: Sequence[Sequence[str]], data: RunData, config: RunConfig) -> list[Overlap]:
    """Searches for the texts of records in the training tasks of a run's store.

    Args:
        records: the texts of each, as they are.
        data: the run's, with its training tasks.
        config: of the run.
    """
    read = ([_as_stored(text, data.vocabulary) for text in texts] for texts in records)
    index = OverlapIndex(read, n=config.evaluation.overlap_ngram, share=config.evaluation.overlap_share)
    if index:
        for stored in data.train:
            index.scan(_stored_texts(stored, data.vocabulary))
    return index.labels()


def _measured_texts(task: EvalTask, declared: Task, split: str) -> Iterator[tuple[int, list[str]]]:
    """Yields (index, texts) of every record that the task measures."""
    if declared.source is None:
        yield from {example.example_id: [example.inputs_text] for example in task.examples}.items()
        return
    wanted = {example.example_id for example in task.examples}
    for index, texts in raw_record_texts(declared, split):
        if index in wanted:
            yield index, texts


def _as_stored(text: str, vocabulary: Vocabulary) -> str:
    """The text as a store gives it back: a tokenizer may fold characters."""
    return vocabulary.decode(vocabulary.encode(text))


def _stored_texts(stored: StoredTask, vocabulary: Vocabulary) -> Iterator[str]:
    """Yields the inputs and the targets of every example of a prepared task."""
    for index in range(len(stored)):
        yield vocabulary.decode(stored.inputs(index).tolist())
        yield vocabulary.decode(stored.targets(index).tolist())


def _labeled(task: EvalTask, labels: Mapping[int, Overlap]) -> EvalTask:
    examples = [dataclasses.replace(example, overlap=labels.get(example.example_id, "")) for example in task.examples]
    return dataclasses.replace(task, examples=examples)


def _write(path: Path, searched: str, kept: Mapping[str, _Searched]) -> None:
    tasks = [
        {"key": key, "task": name, "split": split, "labels": {str(index): label for index, label in own.items()}}
        for key, (name, split, own) in kept.items()
    ]
    atomic_write_text(path, json.dumps({"key": searched, "tasks": tasks}) + "\n")


def _read(path: Path, searched: str) -> dict[str, _Searched]:
    """Reads what earlier searches in the same training data found, by the key of the records; ``{}`` where there are none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] != searched:
            return {}
        return {
            task["key"]: (
                task["task"], task["split"], {int(index): label for index, label in task["labels"].items()}
            )
            for task in content["tasks"]
        }  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
