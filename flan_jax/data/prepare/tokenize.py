"""Encodes rendered examples a batch at a time: ids trimmed to the lengths, ended and checked (``tokenize``)."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from flan_jax.data.prepare.config import FEATURES, PrepareConfig, RecordCounts
from flan_jax.data.prepare.unknown_tokens import count_unknown
from flan_jax.data.tokenizers.protocol import check_ids
from flan_jax.errors import UserError
from flan_jax.store.store import StoredExample
from flan_jax.tasks.spec import Rendered

_BATCH = 256


def tokenize(
    rendered: Iterable[Rendered],
    config: PrepareConfig,
    counts: RecordCounts | None = None,
    *,
    where: str = "rendered text",
) -> Iterator[StoredExample]:
    """Encodes rendered examples, each side trimmed to its length and ended as the configuration says.

    Args:
        rendered: examples as text.
        config: vocabulary, lengths, and what to do with an example that is too long.
        counts: records, and those cut or dropped, are added to it.
        where: names the task in errors.

    Returns:
        Examples with ``inputs`` and ``targets``, [length] int32 each.

    Raises:
        UserError: an example is too long and ``too_long`` is ``fail``, or the vocabulary returned
            an id that it must not return.
    """
    counts = RecordCounts() if counts is None else counts
    examples, last = iter(rendered), -1
    while batch := list(itertools.islice(examples, _BATCH)):
        for example in batch:  # a record that is asked in several ways has as many examples, one behind the other
            counts.records += example.example_id != last
            last = example.example_id
        ids = {
            "inputs": _encode_inputs(batch, config),
            "targets": config.vocabulary.encode_arrays([example.targets for example in batch])
            if config.chat is None
            else [config.chat.reply(example.targets) for example in batch],
        }
        over = {
            feature: _too_long_positions(sides, config.tokenize.lengths[feature] - len(config.ends[feature]))
            for feature, sides in ids.items()
        }
        if config.tokenize.too_long == "truncate":
            for feature, cut in over.items():
                counts.truncated[feature] += len(cut)
            if config.chat is not None:  # a prompt is cut within the user's words
                room = config.tokenize.lengths["inputs"]
                for position in over["inputs"]:
                    ids["inputs"][position] = config.chat.prompt_within(batch[position].inputs, room)
        elif longer := set().union(*over.values()):
            if config.tokenize.too_long == "fail":
                raise _too_long_error(where, batch, ids, over, config)
            counts.dropped += len(longer)
            kept = [i for i in range(len(batch)) if i not in longer]
            batch = [batch[i] for i in kept]
            ids = {feature: [sides[i] for i in kept] for feature, sides in ids.items()}
        inputs, targets = (_trim_and_end(ids[feature], config, feature, where, batch) for feature in FEATURES)
        for feature, sides in (("inputs", inputs), ("targets", targets)):
            count_unknown(counts, config.vocabulary, feature, sides, _text_of(batch, feature))
        for example, own_inputs, own_targets in zip(batch, inputs, targets, strict=True):
            yield StoredExample(
                inputs=own_inputs,
                targets=own_targets,
                example_id=example.example_id,
                template_id=example.template_id,
                options=example.options,
                references=example.references,
                extras=example.extras,
            )


def _text_of(batch: Sequence[Rendered], feature: str) -> Callable[[int], str]:
    return lambda position: batch[position].inputs if feature == "inputs" else batch[position].targets


def _encode_inputs(batch: Sequence[Rendered], config: PrepareConfig) -> list[np.ndarray]:
    """Encodes inputs, without their end; inside a chat template, as prompts for a reply."""
    if config.chat is None:
        return list(config.vocabulary.encode_arrays([example.inputs for example in batch]))
    return [config.chat.prompt(example.inputs) for example in batch]


def _too_long_positions(sides: Sequence[np.ndarray], room: int) -> set[int]:
    """Finds the positions of the sides that are longer than ``room``, in tokens."""
    return {position for position, side in enumerate(sides) if len(side) > room}


def _trim_and_end(
    sides: Sequence[np.ndarray], config: PrepareConfig, feature: str, where: str, examples: Sequence[Rendered]
) -> list[np.ndarray]:
    """Cuts each side to its length and ends it; views of one int32 array."""
    if not sides:
        return []
    vocabulary, end = config.vocabulary, config.ends[feature]
    room = config.tokenize.lengths[feature] - len(end)
    parts = [part for side in sides for part in (side[:room], end)]
    joined = np.concatenate(parts, dtype=np.int32)
    ends = itertools.accumulate(map(len, parts))
    if config.chat is None and (
        np.count_nonzero(joined == vocabulary.eos_id) != len(sides) * np.count_nonzero(end == vocabulary.eos_id)
        or np.any(joined == vocabulary.pad_id)
        or joined.min() < 0
        or joined.max() >= vocabulary.size
    ):
        for side, example in zip(sides, examples, strict=True):
            check_ids(vocabulary, side[:room], f"the {feature} of {where}, record {example.example_id},")
    return [joined[start:stop] for start, stop in itertools.pairwise([0, *itertools.islice(ends, 1, None, 2)])]


def _too_long_error(
    where: str,
    batch: Sequence[Rendered],
    ids: Mapping[str, Sequence[np.ndarray]],
    over: Mapping[str, set[int]],
    config: PrepareConfig,
) -> UserError:
    position, feature = min((min(indices), feature) for feature, indices in over.items() if indices)
    return UserError(
        f"{where[0].upper()}{where[1:]}, record {batch[position].example_id}: its {feature} have "
        f"{len(ids[feature][position]) + len(config.ends[feature])} tokens with what ends them, but the length of {feature} is "
        f"{config.tokenize.lengths[feature]}. Raise the length, or choose too_long=truncate or too_long=drop."
    )
