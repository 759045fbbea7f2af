"""Prepare: render and tokenise each task once, into the token store.

The fingerprint of a prepared split covers everything its tokens depend on, so a second run
writes only what changed, and a store made from something else is never taken for this one.
"""

import dataclasses
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.fingerprints import callable_digest
from flan_jax.data.sources import digest
from flan_jax.data.tokenizers import Vocabulary
from flan_jax.errors import UserError, unknown
from flan_jax.feed.store import StoredExample, StoredTask, TokenStore
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted, Rendered

FORMAT = 1
"""Raised when rendering or trimming changes in a way that no other part of a fingerprint shows."""
FEATURES = ("inputs", "targets")
DEFAULT_LENGTHS: Mapping[str, int] = {"inputs": 512, "targets": 128}
_BATCH = 256


@dataclasses.dataclass(frozen=True, slots=True)
class PreparedSplit:
    """What happened to one split of one task.

    Attributes:
        task: its name.
        split: the split.
        fingerprint: of the stored split.
        examples: stored examples.
        input_tokens: over all examples, end-of-sequence ids counted.
        target_tokens: as above.
        truncated_inputs: examples whose input was cut.
        truncated_targets: examples whose target was cut.
        skipped: it was in the store already.
        seconds: wall-clock time spent on it.
    """

    task: str
    split: str
    fingerprint: str
    examples: int
    input_tokens: int
    target_tokens: int
    truncated_inputs: int
    truncated_targets: int
    skipped: bool
    seconds: float


@dataclasses.dataclass(frozen=True)
class PrepareReport:
    """What ``prepare`` did, split by split, in the order asked for."""

    splits: tuple[PreparedSplit, ...]
    seconds: float

    @property
    def written(self) -> int:
        """Splits tokenised now."""
        return sum(not split.skipped for split in self.splits)

    @property
    def skipped(self) -> int:
        """Splits that were there already."""
        return sum(split.skipped for split in self.splits)

    @property
    def examples(self) -> int:
        """Examples of all splits."""
        return sum(split.examples for split in self.splits)

    @property
    def tokens(self) -> int:
        """Tokens of all splits, inputs and targets."""
        return sum(split.input_tokens + split.target_tokens for split in self.splits)

    @property
    def truncated_inputs(self) -> int:
        """Examples of all splits whose input was cut."""
        return sum(split.truncated_inputs for split in self.splits)

    @property
    def truncated_targets(self) -> int:
        """Examples of all splits whose target was cut."""
        return sum(split.truncated_targets for split in self.splits)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        totals = ("written", "skipped", "examples", "tokens", "truncated_inputs", "truncated_targets")
        return {
            **{total: getattr(self, total) for total in totals},
            "seconds": round(self.seconds, 3),
            "splits": [dataclasses.asdict(split) for split in self.splits],
        }


Progress = Callable[[int, int, PreparedSplit], None]
"""Called after each split as ``progress(done, total, what)``."""


def prepare(
    tasks: Iterable[tuple[Prompted, Sequence[str]]],
    *,
    store: TokenStore,
    vocabulary: Vocabulary,
    lengths: Mapping[str, int] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> PrepareReport:
    """Puts every (task, split) asked for into the store, unless it is there already.

    Args:
        tasks: tasks with the splits wanted of each; a pair asked for twice is prepared once.
        store: where to.
        vocabulary: text to ids.
        lengths: ``inputs`` and ``targets`` in tokens, the end-of-sequence id counted.
        seed: which example gets which template.
        progress: called after each split.

    Raises:
        UserError: a bad length, a task without such a split or without records in it, a record
            that cannot be rendered, a full disk. Splits finished before stay prepared.
    """
    lengths = checked_lengths(DEFAULT_LENGTHS if lengths is None else lengths)
    wanted: dict[tuple[str, str], Prompted] = {}
    for task, splits in tasks:
        for split in splits:
            if wanted.setdefault((task.name, split), task) != task:
                raise UserError(f"Two different tasks are named {task.name!r}. Give one of them a variant.")
    begun = time.monotonic()
    vocabulary_print = vocabulary.fingerprint()
    done = []
    for (name, split), task in wanted.items():
        started = time.monotonic()
        parts = _parts(task, split, vocabulary_print, lengths, seed)
        fingerprint = _combined(parts)
        skipped = store.has(name, split, fingerprint)
        if skipped:
            stored = store.open(name, split, fingerprint)
            cut = stored.manifest["truncated"]
        else:
            stored, cut = _write(task, split, store, fingerprint, parts, vocabulary, lengths, seed)
        done.append(
            PreparedSplit(
                task=name,
                split=split,
                fingerprint=fingerprint,
                examples=len(stored),
                input_tokens=stored.manifest["input_tokens"],
                target_tokens=stored.manifest["target_tokens"],
                truncated_inputs=cut["inputs"],
                truncated_targets=cut["targets"],
                skipped=skipped,
                seconds=time.monotonic() - started,
            )
        )
        if progress is not None:
            progress(len(done), len(wanted), done[-1])
    return PrepareReport(tuple(done), time.monotonic() - begun)


def task_fingerprint(task: Prompted, split: str, vocabulary: Vocabulary, lengths: Mapping[str, int], seed: int) -> str:
    """Hexadecimal digest of everything that the tokens of ``split`` depend on."""
    return _combined(fingerprint_parts(task, split, vocabulary, lengths, seed))


def fingerprint_parts(
    task: Prompted, split: str, vocabulary: Vocabulary, lengths: Mapping[str, int], seed: int
) -> dict[str, str]:
    """What ``task_fingerprint`` is made of, so that an error can name the part that changed.

    Raises:
        UserError: a bad length, or a source that is not there.
    """
    return _parts(task, split, vocabulary.fingerprint(), checked_lengths(lengths), seed)


def checked_lengths(lengths: Mapping[str, int]) -> dict[str, int]:
    """``lengths`` as a plain dictionary of ``inputs`` and ``targets``.

    Raises:
        UserError: an unknown or missing feature, or a length that leaves no room for a token and
            the end-of-sequence id.
    """
    for feature in lengths:
        if feature not in FEATURES:
            raise unknown("feature length", feature, FEATURES)
    for feature in FEATURES:
        length = lengths.get(feature)
        if not isinstance(length, int | np.integer) or isinstance(length, bool) or length < 2:
            raise UserError(
                f"The length of {feature!r} is {length!r}, but it must be a whole number of at least 2 tokens (one and the end of sequence)."
            )
    return {feature: int(lengths[feature]) for feature in FEATURES}


def _parts(task: Prompted, split: str, vocabulary_print: str, lengths: Mapping[str, int], seed: int) -> dict[str, str]:
    spec = task.spec
    return {
        "source": spec.source.fingerprint(split),
        "fields": callable_digest(spec.fields),
        "templates": digest(*((t.inputs, t.targets, t.inverted) for t in spec.templates)),
        "template_ids": digest(task.template_ids),
        "options": digest(spec.options, spec.answer),
        "mode": digest(task.mode),
        # Templates are drawn from (seed, name, index).
        "seed": digest(seed, spec.name),
        "vocabulary": vocabulary_print,
        "lengths": digest(sorted(lengths.items())),
        "format": digest(FORMAT),
    }


def _combined(parts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _write(
    task: Prompted,
    split: str,
    store: TokenStore,
    fingerprint: str,
    parts: Mapping[str, str],
    vocabulary: Vocabulary,
    lengths: Mapping[str, int],
    seed: int,
) -> tuple[StoredTask, dict[str, int]]:
    rendered = render_split(task, split, seed=seed)
    first = next(rendered, None)
    if first is None:
        raise UserError(
            f"Task {task.name!r} is empty: its split {split!r} has no records ({task.spec.source.describe()}). Leave the task out or give it data."
        )
    cut = dict.fromkeys(FEATURES, 0)
    manifest = {
        "parts": dict(parts),
        "truncated": cut,  # the store reads the examples first, and writes this when the counts are final
        "cluster": task.spec.cluster,
        "source": task.spec.source.describe(),
        "mode": str(task.mode),
        "seed": seed,
        "lengths": dict(lengths),
        "vocabulary": vocabulary.name,
        "vocabulary_size": vocabulary.size,
    }
    examples = tokenise(itertools.chain([first], rendered), vocabulary, lengths, cut)
    return store.write(task.name, split, fingerprint, examples, manifest), cut


def tokenise(
    rendered: Iterable[Rendered],
    vocabulary: Vocabulary,
    lengths: Mapping[str, int],
    truncated: dict[str, int] | None = None,
) -> Iterator[StoredExample]:
    """Ids of rendered examples: each side trimmed to its length less one, then ended.

    Args:
        rendered: examples as text.
        vocabulary: text to ids.
        lengths: ``inputs`` and ``targets``.
        truncated: counted up, per feature, for each example that was cut.
    """
    examples = iter(rendered)
    while batch := list(itertools.islice(examples, _BATCH)):
        ids = {
            feature: vocabulary.encode_batch([getattr(example, feature) for example in batch]) for feature in FEATURES
        }
        for position, example in enumerate(batch):
            ended = {}
            for feature in FEATURES:
                whole, room = ids[feature][position], lengths[feature] - 1
                if truncated is not None and len(whole) > room:
                    truncated[feature] += 1
                ended[feature] = np.asarray([*whole[:room], vocabulary.eos_id], dtype=np.int32)
            yield StoredExample(
                inputs=ended["inputs"],
                targets=ended["targets"],
                example_id=example.example_id,
                template_id=example.template_id,
                options=example.options,
                references=example.references,
            )
