"""Sentences about prepared data that a user should read: keys not read, cleaning, merged turns, unknown tokens.

``prepare`` prints them, and ``train`` as it starts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.data.formats.unread_keys import format_counts
from flan_jax.data.prepare.config import FEATURES
from flan_jax.data.prepare.split_job import PreparedSplit

_SHOWN = 5


def notices(splits: Sequence[PreparedSplit], *, vocabulary: str = "") -> list[str]:
    """Returns a line for each kind of notice; one about data that teaches a model wrongly begins with ``warning:``.

    Args:
        splits: the prepared splits.
        vocabulary: its name, for people.
    """
    return [*_not_read(splits), *_cleaned(splits), *_merged(splits), *_rewritten(splits), *_unknown(splits, vocabulary)]


def _files(splits: Sequence[PreparedSplit]) -> dict[str, Mapping[str, Any]]:
    """Returns the notes of sources by file, once a file, which may have several splits and many tasks."""
    return {split.notes["place"]: split.notes for split in splits if split.notes}


def _not_read(splits: Sequence[PreparedSplit]) -> list[str]:
    counts = Counter[str]()
    for notes in _files(splits).values():
        counts.update(notes.get("not_read", {}))
    return [f"Not read: {format_counts(counts)}."] if counts else []


def _cleaned(splits: Sequence[PreparedSplit]) -> list[str]:
    files = _files(splits)
    lines = []
    for place, notes in files.items():
        changes = [f"{reason} left out {number:,}" for reason, number in notes.get("left_out", {}).items()]
        noticed = []
        for step, count in notes.get("steps", {}).items():
            parts = [
                f"{verb} {count[key]:,}"
                for key, verb in (("left_out", "left out"), ("changed", "changed"), ("added", "added"))
                if count[key]
            ]
            changes += [f"{step} {', '.join(parts)}"] if parts else []
            noticed += [f"{number:,} × {kind}" for kind, number in count["noticed"].items()]
        if changes:
            lines.append(f"Cleaned {place} ({notes['records']:,} records): {'; '.join(changes)}.")
        if noticed:
            lines.append(
                f"warning: {place} has what may stand for something else, and it stays as it is: {'; '.join(noticed)}. "
                "The cleaning step 'placeholders', asked for by name, takes such texts for what they mean."
            )
    return lines


def _merged(splits: Sequence[PreparedSplit]) -> list[str]:
    merged = sum(split.merged for split in splits)
    where = _largest({f"{split.task} {split.split}": split.merged for split in splits})
    return [f"Merged with a message of the same speaker before them: {merged:,} messages ({where})."] if merged else []


def _rewritten(splits: Sequence[PreparedSplit]) -> list[str]:
    roles = Counter[str]()
    for split in splits:
        roles.update(split.rewritten)
    if not roles:
        return []
    counts = " and ".join(f"{number:,} of the {role}'s" for role, number in roles.items())
    places = [place for split in splits for place in split.rewritten_at][:_SHOWN]
    return [
        f"warning: the chat template leaves out or rewrites a part of {counts} messages (reasoning in <think>, for example): "
        f"{'; '.join(places)}. Nothing is learned from what it leaves out."
    ]


def _unknown(splits: Sequence[PreparedSplit], vocabulary: str) -> list[str]:
    lines = []
    name = f"the vocabulary {vocabulary!r}" if vocabulary else "the vocabulary"
    for feature in FEATURES:
        affected = [split for split in splits if split.unknown.get(feature)]
        if not affected:
            continue
        ids, examples = (
            sum(getattr(split, kind)[feature] for split in affected) for kind in ("unknown", "unknown_examples")
        )
        pieces = dict.fromkeys(piece for split in affected for piece in split.unknown_pieces.get(feature, ()))
        text = next((split.unknown_texts[feature] for split in affected if feature in split.unknown_texts), "")
        counted = (
            f"{ids:,} ids in the {feature} of {examples:,} of {sum(split.examples for split in splits):,} examples are unknown to "
            f"{name} ({_largest({f'{split.task} {split.split}': split.unknown_examples[feature] for split in affected})})"
        )
        shown = f": {' '.join(map(repr, list(pieces)[: 2 * _SHOWN]))}, as in {text!r}" if pieces else ""
        remedy = ""
        if feature == "targets":
            remedy = (
                " A model learns to write the unknown token in their place. Choose a vocabulary that spells them, such as "
                "'bytes' or one with byte fallback."
            )
        lines.append(f"{'warning: ' if remedy else ''}{counted}{shown}.{remedy}")
    return lines


def _largest(counts: Mapping[str, int]) -> str:
    """Formats the largest counts by name, a few at most."""
    found = sorted(((name, number) for name, number in counts.items() if number), key=lambda pair: -pair[1])
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    return ", ".join(f"{name} {number:,}" for name, number in found[:_SHOWN]) + more
