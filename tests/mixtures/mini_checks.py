"""Checks that hold for every task of a small world: what the tests of ``mini`` and of ``mini_wide`` share."""

import collections
import difflib
import functools
import hashlib
import itertools
import json
import math
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.data.tokenizers.words import split_words
from flan_jax.tasks.render import render
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec
from mixtures.mini import mixture as mini_mixture
from mixtures.mini.world import Maker

SPLITS = ("train", "validation", "test")


def maker(spec: TaskSpec) -> Maker:
    return spec.source.make  # type: ignore[attr-defined,no-any-return]


def choices(spec: TaskSpec, record: Any) -> tuple[str, ...]:
    return tuple(record[spec.options]) if isinstance(spec.options, str) else spec.options


def words_of(texts: Iterable[str]) -> set[str]:
    """Words of many texts, marks left out."""
    return set(split_words(" ".join(texts))) - set(string.punctuation)


@functools.cache
def template_words(spec: TaskSpec, ids: tuple[int, ...]) -> frozenset[str]:
    literal = (
        piece
        for index in ids
        for side in (spec.templates[index].inputs, spec.templates[index].targets)
        for piece, _, _, _ in string.Formatter().parse(side)
    )
    return frozenset(words_of(literal))


@functools.cache
def record_words(spec: TaskSpec, split: str) -> frozenset[str]:
    texts = {
        text
        for record in spec.source.records(split)
        for value in (*record.values(), choices(spec, record))
        for text in ([value] if isinstance(value, str) else value)
    }
    return frozenset(words_of(texts))


def check_no_record_is_there_twice(spec: TaskSpec) -> None:
    make = maker(spec)
    keys = [make.key(record) for split in SPLITS for record in spec.source.records(split)]
    assert len(set(keys)) == len(keys)
    sizes = [len(list(spec.source.records(split))) for split in SPLITS]
    assert sizes[0] >= 300
    assert sizes[1] >= 150
    assert sizes[2] >= 150


def check_no_measured_prompt_is_trained(spec: TaskSpec, template_ids: Iterable[int] | None = None) -> None:
    """Whatever the records hold, the text that is scored was not seen: checked on rendered prompts."""
    task = mini_mixture.scored(spec)
    for template_id in task.drawn_templates[::3] if template_ids is None else template_ids:
        trained = {
            render(task, record, index=index, template_id=template_id).inputs
            for index, record in enumerate(spec.source.records("train"))
        }
        for split in ("validation", "test"):
            for index, record in enumerate(spec.source.records(split)):
                assert render(task, record, index=index, template_id=template_id).inputs not in trained


def check_answers_are_balanced(spec: TaskSpec) -> None:
    """No label and no place in the list of choices is a good guess."""
    records = list(spec.source.records("train"))
    if not spec.options:
        return
    labels = collections.Counter(record["answer"] for record in records)
    if len(labels) <= 8:
        even = 1 / len(labels)
        assert all(abs(count / len(records) - even) <= 0.15 * even for count in labels.values()), labels
    if not isinstance(spec.options, str):
        return
    by_count: dict[int, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    for record in records:
        offered = choices(spec, record)
        by_count[len(offered)][offered.index(record["answer"])] += 1
    for count, places in by_count.items():
        total = sum(places.values())
        # Five standard deviations of a fair die.
        slack = 5 * math.sqrt((1 / count) * (1 - 1 / count) / total)
        assert all(abs(places[place] / total - 1 / count) < slack for place in range(count)), (count, places)


def check_lengths_and_ids(spec: TaskSpec, vocabulary: Vocabulary, records: int = 200, longest: int = 64) -> None:
    """Every template on many records: short, no unknown word, and a target that decodes to itself."""
    for template_id in range(len(spec.templates)):
        for index, record in enumerate(itertools.islice(spec.source.records("train"), records)):
            example = render(Prompted(spec, PromptMode.ZS_OPT), record, index=index, template_id=template_id)
            inputs, targets = vocabulary.encode(example.inputs), vocabulary.encode(example.targets)
            assert len(inputs) + 1 <= longest
            assert len(targets) + 1 <= 16
            assert vocabulary.unk_id not in (*inputs, *targets)
            if not spec.templates[template_id].inverted:
                assert vocabulary.decode(targets) == example.targets


def check_templates_are_ten_different_ones(spec: TaskSpec) -> None:
    texts = [template.inputs.lower() for template in spec.templates]
    assert len(texts) == 10
    for (i, one), (j, other) in itertools.combinations(enumerate(texts), 2):
        ratio = difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
        assert ratio < 0.9, (i, j, ratio)
    assert all(text == text.strip() and "  " not in text for text in texts)
    assert sum(template.inverted for template in spec.templates) <= 2
    if spec.options:
        placed = sum("{options}" in text for text in texts)
        assert 2 <= placed <= 6, "some templates place the options themselves, some leave it to the renderer"


def check_held_out_templates_are_no_copies(held_out: Iterable[TaskSpec], held_in: Iterable[TaskSpec]) -> None:
    trained = [(spec.name, template.inputs) for spec in held_in for template in spec.templates]
    for spec in held_out:
        for template in spec.templates:
            for name, text in trained:
                matcher = difflib.SequenceMatcher(None, template.inputs, text, autojunk=False)
                copied = matcher.quick_ratio() >= 0.9 and matcher.ratio() >= 0.9  # the quick one is never smaller
                assert not copied, (spec.name, template.inputs, name, text)


def check_templates_do_not_tell_the_labels(spec: TaskSpec) -> None:
    """Without the options block a prompt must not list a closed set by another way."""
    labels: set[str] = set()
    if not isinstance(spec.options, str):
        labels = set(spec.options)
    else:
        answers = {record["answer"] for record in spec.source.records("train")}
        labels = words_of(answers) if len(answers) <= 8 else set()
    assert not labels & template_words(spec, spec.scored_templates)


def check_prompts_read_well_without_options(spec: TaskSpec) -> None:
    if not spec.options:
        return
    record = next(iter(spec.source.records("test")))
    for template_id in spec.scored_templates:
        text = render(Prompted(spec, PromptMode.ZS_NOOPT), record, index=0, template_id=template_id).inputs
        assert "options" not in text.lower()
        assert "\n\n\n" not in text
        assert text == text.strip()


def check_vocabulary(file: Path, used: set[str], *, update: bool, most: int) -> None:
    """The words in the file are exactly those in use."""
    if update:
        file.write_text("\n".join(sorted(used)) + "\n", encoding="utf-8")
    listed = file.read_text(encoding="utf-8").split()
    assert sorted(used - set(listed)) == [], "words without an id; FLAN_JAX_UPDATE_GOLDEN=1 lists them"
    assert sorted(set(listed) - used) == [], "words that nothing uses; FLAN_JAX_UPDATE_GOLDEN=1 removes them"
    assert len(set(listed)) == len(listed) <= most


def records_digest(spec: TaskSpec, split: str) -> str:
    sha = hashlib.sha256()
    for record in spec.source.records(split):
        sha.update(json.dumps(record, sort_keys=True).encode())
    return sha.hexdigest()[:16]
