"""The unit of preparing: one split of one task, found in the store or written to it."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.data.prepare.config import FEATURES, PrepareConfig, RecordCounts, combined
from flan_jax.data.prepare.preprocessors import producer
from flan_jax.data.prepare.source_notes import left_out_before
from flan_jax.errors import UserError
from flan_jax.store.store import StoredExample, StoredTask, TokenStore
from flan_jax.tasks.spec import Prompted, Task


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
        dropped: records left out because a side is too long.
        unreadable: records left out because they cannot be read or rendered.
        messages: why the first unreadable records are so.
        skipped: it was in the store already.
        damaged: it was in the store already, but did not match its checksums, so it was written again.
        seconds: wall-clock time spent on it; ``None`` where a machine elsewhere did.
        left_out: records left out because they are no examples of the task.
        by_reply: conversations that became an example for every reply; see ``RecordCounts``.
        merged: messages that became one with a message of the same speaker before them.
        unsaid: messages that the chat template does not write as they are, by role.
        unsaid_at: where the first of these stand.
        unknown: ids of what the vocabulary cannot say, by feature.
        unknown_examples: examples that have one, by feature.
        unknown_pieces: some of what cannot be said, by feature.
        unknown_texts: the first text that has such, by feature.
        notes: what the source says of its file: see ``InstructionSource.notes``.
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
    left_out: int = 0
    by_reply: int = 0
    merged: int = 0
    unsaid: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unsaid_at: Sequence[str] = ()
    unknown: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unknown_examples: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unknown_pieces: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    unknown_texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SplitJob:
    """A split that should be in the store.

    Attributes:
        task: the task.
        split: the split.
        parts: what its fingerprint is made from.
        damaged: what the store has under this fingerprint is not whole.
    """

    task: Task
    split: str
    parts: Mapping[str, str]
    damaged: bool = False

    @property
    def fingerprint(self) -> str:
        """Of the split that should be there."""
        return combined(self.parts)


def work_of(task: Task, split: str, recipe: PrepareConfig) -> SplitJob:
    """The work of preparing ``split`` by ``recipe``.

    Raises:
        UserError: a source that is not there, or a split that it does not have.
    """
    return SplitJob(task, split, producer(task, recipe).fingerprint_parts(split))


def parts_in(store: TokenStore, task: Task, split: str, parts: Mapping[str, str]) -> Mapping[str, str]:
    """What a stored split was made from: ``parts``, or these without the texts that a task keeps beside its tokens.

    A store from before the task declared such texts has the same tokens, so it is read where it has no newer one;
    metrics that miss the texts say so.
    """
    kept = task.spec.extras if isinstance(task, Prompted) else ()
    tokens = {name: part for name, part in parts.items() if name not in kept}
    if len(tokens) == len(parts):
        return parts
    found = store.fingerprints(task.name, split)
    older = combined(parts)[:16] not in found and combined(tokens)[:16] in found
    return tokens if older else parts


def _source(task: Task) -> Any:
    """Where a task's records come from, where it says so."""
    return getattr(getattr(task, "spec", task), "source", None)


def size_hint(work: SplitJob) -> int | None:
    """About how many bytes are read to prepare it, where its source knows that without reading."""
    hint = getattr(_source(work.task), "size_hint", None)
    return None if hint is None else hint(work.split)


def find(work: SplitJob, store: TokenStore, *, verify: bool = False) -> PreparedSplit | SplitJob:
    """What the store has of it already, or the work that remains.

    Args:
        work: the split wanted.
        store: where to look.
        verify: compare checksums in any case, not only of what this machine has not yet found right.
    """
    begun = time.monotonic()
    name, fingerprint = work.task.name, work.fingerprint
    if store.has(name, work.split, fingerprint, verify="always" if verify else "changed"):
        stored = store.open(name, work.split, fingerprint, verify="never")
        return outcome(stored, time.monotonic() - begun, skipped=True)
    return dataclasses.replace(work, damaged=fingerprint[:16] in store.fingerprints(name, work.split))


def write(work: SplitJob, recipe: PrepareConfig, store: TokenStore) -> PreparedSplit:
    """Renders, tokenises and stores it.

    Raises:
        UserError: a record that cannot be read or rendered, nothing to store, or as
            ``TokenStore.write``. Nothing half-written is left.
    """
    begun = time.monotonic()
    maker, tally = producer(work.task, recipe), RecordCounts()
    manifest: dict[str, Any] = {
        **maker.manifest(work.split),
        "parts": dict(work.parts),
        # The live counts: the store takes the examples first and writes its manifest when they are final.
        "tally": vars(tally),
    }
    examples = _some(work, maker.examples(work.split, tally), tally, manifest, recipe)
    extras = maker.extras(work.split)
    stored = store.write(work.task.name, work.split, work.fingerprint, examples, manifest, extras=extras)
    return outcome(stored, time.monotonic() - begun, damaged=work.damaged)


def _some(
    work: SplitJob,
    examples: Iterator[StoredExample],
    tally: RecordCounts,
    manifest: Mapping[str, Any],
    recipe: PrepareConfig,
) -> Iterator[StoredExample]:
    """Passes examples on; that there were none is an error, with the reason."""
    empty = True
    for example in examples:
        empty = False
        yield example
    merged = getattr(_source(work.task), "merged", None)
    tally.merged += merged(work.split) if merged else 0
    if not empty:
        return
    where = f"Task {work.task.name!r} is empty: its split {work.split!r}"
    source = f" ({manifest['source']})" if manifest.get("source") else ""
    told = left_out_before(manifest.get("notes", {}))
    if not tally.records and told:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in told.items())
        raise UserError(
            f"{where} has nothing to learn from{source}: every record is left out, by reason: {reasons}. "
            "Correct the data, or leave the task out."
        )
    if not tally.records:
        raise UserError(f"{where} has no records{source}. Leave the task out or give it data.")
    gone = []
    if tally.skipped:
        gone.append(f"{tally.skipped} cannot be read or rendered (the first: {tally.messages[0]})")
    if tally.left_out:
        gone.append(f"{tally.left_out} are no examples of the task")
    if tally.dropped:
        lengths = ", ".join(f"{feature} {recipe.lengths[feature]}" for feature in FEATURES)
        gone.append(f"{tally.dropped} are longer than the lengths {lengths}")
    raise UserError(
        f"{where} has {tally.records} records{source}, but none is left: {'; '.join(gone)}. "
        "Correct the data, raise the lengths, or leave the task out."
    )


def outcome(
    stored: StoredTask, seconds: float | None, *, skipped: bool = False, damaged: bool = False
) -> PreparedSplit:
    """What a stored split's manifest says of it."""
    manifest = stored.manifest
    tally = RecordCounts(**manifest["tally"])
    return PreparedSplit(
        task=stored.name,
        split=stored.split,
        fingerprint=stored.fingerprint,
        examples=len(stored),
        input_tokens=manifest["input_tokens"],
        target_tokens=manifest["target_tokens"],
        truncated_inputs=tally.truncated.get("inputs", 0),
        truncated_targets=tally.truncated.get("targets", 0),
        dropped=tally.dropped,
        unreadable=tally.skipped,
        messages=tuple(tally.messages),
        skipped=skipped,
        damaged=damaged,
        seconds=seconds,
        left_out=tally.left_out,
        by_reply=tally.by_reply,
        merged=tally.merged,
        unsaid=tally.unsaid,
        unsaid_at=tuple(tally.unsaid_at),
        unknown=tally.unknown,
        unknown_examples=tally.unknown_examples,
        unknown_pieces=tally.unknown_pieces,
        unknown_texts=tally.unknown_texts,
        notes=manifest.get("notes", {}),
    )
