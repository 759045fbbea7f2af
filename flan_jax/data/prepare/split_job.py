"""Prepares one split of one task: finds it in the store (``find_prepared``) or writes it (``write_split``)."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.data.prepare.config import FEATURES, PrepareConfig, RecordCounts, as_written, combine_parts
from flan_jax.data.prepare.preprocessors import make_preprocessor
from flan_jax.data.prepare.source_notes import filtered_by_source
from flan_jax.errors import UserError
from flan_jax.store.store import StoredExample, StoredTask, TokenStore
from flan_jax.tasks.task import Task


@dataclasses.dataclass(frozen=True, slots=True)
class PreparedSplit:
    """The outcome of preparing one split of one task.

    Attributes:
        task: its name.
        split: the split.
        fingerprint: of the stored split.
        examples: stored examples.
        input_tokens: over all examples, end-of-sequence ids counted.
        target_tokens: as above.
        truncated_inputs: examples whose input was cut.
        truncated_targets: examples whose target was cut.
        dropped: records left out because a side is too long.
        unreadable: records left out because they cannot be read or rendered.
        messages: why the first unreadable records are so.
        skipped: it was in the store already.
        damaged: it was in the store already, but did not match its checksums, so it was written again.
        seconds: wall-clock time spent on it; ``None`` where a machine elsewhere did.
        filtered: records left out because they are no examples of the task.
        by_reply: conversations that became an example for every reply; see ``RecordCounts``.
        replies: the assistant's turns that are learned in conversations.
        turn_ends: those that are learned with a token that ends them.
        merged: messages that became one with a message of the same speaker before them.
        rewritten: messages that the chat template does not write as they are, by role.
        rewritten_at: where the first of these stand.
        unknown: unknown ids, by feature.
        unknown_examples: examples that have an unknown id, by feature.
        unknown_pieces: some of the characters or words behind unknown ids, by feature.
        unknown_texts: the first text with an unknown id, by feature.
        notes: the source's counts of its file: see ``InstructionSource.notes``.
    """

    task: str
    split: str
    fingerprint: str
    examples: int
    input_tokens: int
    target_tokens: int
    truncated_inputs: int
    truncated_targets: int
    dropped: int
    unreadable: int
    messages: tuple[str, ...]
    skipped: bool
    damaged: bool
    seconds: float | None
    filtered: int = 0
    by_reply: int = 0
    replies: int = 0
    turn_ends: int = 0
    merged: int = 0
    rewritten: Mapping[str, int] = dataclasses.field(default_factory=dict)
    rewritten_at: Sequence[str] = ()
    unknown: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unknown_examples: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unknown_pieces: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    unknown_texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values, under the keys that manifests have."""
        return as_written(dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class SplitJob:
    """A split to be prepared.

    Attributes:
        task: the task.
        split: the split.
        parts: the digests that its fingerprint combines.
        damaged: the store has this fingerprint, but not whole.
    """

    task: Task
    split: str
    parts: Mapping[str, str]
    damaged: bool = False

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest of everything that the tokens of the split depend on."""
        return combine_parts(self.parts)


def make_job(task: Task, split: str, config: PrepareConfig) -> SplitJob:
    """Makes the job of preparing ``split`` with ``config``.

    Raises:
        UserError: a source that is not there, or a split that it does not have.
    """
    return SplitJob(task, split, make_preprocessor(task, config).fingerprint_parts(split))


def parts_in(store: TokenStore, task: Task, split: str, parts: Mapping[str, str]) -> Mapping[str, str]:
    """Selects the digests of the stored split: ``parts``, or these without the extras of the task.

    A store from before the task declared its extras has the same tokens, so it is read where there is no newer one;
    metrics that miss the texts say so.
    """
    kept = task.extras
    tokens = {name: part for name, part in parts.items() if name not in kept}
    if len(tokens) == len(parts):
        return parts
    found = store.fingerprints(task.name, split)
    older = combine_parts(parts)[:16] not in found and combine_parts(tokens)[:16] in found
    return tokens if older else parts


def size_hint(job: SplitJob) -> int | None:
    """Estimates the bytes that are read to prepare a split; ``None`` where its source cannot without reading."""
    source = job.task.source
    return None if source is None else source.size_hint(job.split)


def find_prepared(job: SplitJob, store: TokenStore, *, verify: bool = False) -> PreparedSplit | SplitJob:
    """Returns the outcome of a split that is in the store, or the job where it is not, or damaged.

    Args:
        job: the split to be prepared.
        store: where to look.
        verify: compare checksums in any case, not only of files that this machine has not yet verified.
    """
    start = time.monotonic()
    name, fingerprint = job.task.name, job.fingerprint
    if store.has(name, job.split, fingerprint, verify="always" if verify else "changed"):
        stored = store.open(name, job.split, fingerprint, verify="never")
        return read_outcome(stored, time.monotonic() - start, skipped=True)
    return dataclasses.replace(job, damaged=fingerprint[:16] in store.fingerprints(name, job.split))


def write_split(job: SplitJob, config: PrepareConfig, store: TokenStore) -> PreparedSplit:
    """Renders, tokenizes and stores a split.

    Raises:
        UserError: a record that cannot be read or rendered, nothing to store, or as
            ``TokenStore.write``. Nothing half-written is left.
    """
    start = time.monotonic()
    preprocessor, counts = make_preprocessor(job.task, config), RecordCounts()
    manifest: dict[str, Any] = {**preprocessor.manifest(job.split), "parts": dict(job.parts)}
    examples = _counted(job, preprocessor.examples(job.split, counts), counts, manifest, config)
    extras = preprocessor.extras(job.split)
    stored = store.write(job.task.name, job.split, job.fingerprint, examples, manifest, extras=extras)
    return read_outcome(stored, time.monotonic() - start, damaged=job.damaged)


def _counted(
    job: SplitJob,
    examples: Iterator[StoredExample],
    counts: RecordCounts,
    manifest: dict[str, Any],
    config: PrepareConfig,
) -> Iterator[StoredExample]:
    """Passes examples on, and enters the final counts into the manifest, which the store writes behind the examples.

    Raises:
        UserError: there were no examples; with the reason.
    """
    empty = True
    for example in examples:
        empty = False
        yield example
    source = job.task.source
    counts.merged += 0 if source is None else source.merged(job.split)
    manifest["tally"] = counts.as_manifest()
    if not empty:
        return
    where = f"Task {job.task.name!r} is empty: its split {job.split!r}"
    described = f" ({manifest['source']})" if manifest.get("source") else ""
    filtered = filtered_by_source(manifest.get("notes", {}))
    if not counts.records and filtered:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in filtered.items())
        raise UserError(
            f"{where} has nothing to learn from{described}: every record is left out, by reason: {reasons}. "
            "Correct the data, or leave the task out."
        )
    if not counts.records:
        raise UserError(f"{where} has no records{described}. Leave the task out or give it data.")
    gone = []
    if counts.skipped:
        gone.append(f"{counts.skipped} cannot be read or rendered (the first: {counts.messages[0]})")
    if counts.filtered:
        gone.append(f"{counts.filtered} are no examples of the task")
    if counts.dropped:
        lengths = ", ".join(f"{feature} {config.tokenize.lengths[feature]}" for feature in FEATURES)
        gone.append(f"{counts.dropped} are longer than the lengths {lengths}")
    raise UserError(
        f"{where} has {counts.records} records{described}, but none is left: {'; '.join(gone)}. "
        "Correct the data, raise the lengths, or leave the task out."
    )


def read_outcome(
    stored: StoredTask, seconds: float | None, *, skipped: bool = False, damaged: bool = False
) -> PreparedSplit:
    """Reads the outcome of a stored split from its manifest."""
    manifest = stored.manifest
    counts = RecordCounts.from_manifest(manifest["tally"])
    return PreparedSplit(
        task=stored.name,
        split=stored.split,
        fingerprint=stored.fingerprint,
        examples=len(stored),
        input_tokens=manifest["input_tokens"],
        target_tokens=manifest["target_tokens"],
        truncated_inputs=counts.truncated.get("inputs", 0),
        truncated_targets=counts.truncated.get("targets", 0),
        dropped=counts.dropped,
        unreadable=counts.skipped,
        messages=tuple(counts.messages),
        skipped=skipped,
        damaged=damaged,
        seconds=seconds,
        filtered=counts.filtered,
        by_reply=counts.by_reply,
        replies=counts.replies,
        turn_ends=counts.turn_ends,
        merged=counts.merged,
        rewritten=counts.rewritten,
        rewritten_at=tuple(counts.rewritten_at),
        unknown=counts.unknown,
        unknown_examples=counts.unknown_examples,
        unknown_pieces=counts.unknown_pieces,
        unknown_texts=counts.unknown_texts,
        notes=manifest.get("notes", {}),
    )
