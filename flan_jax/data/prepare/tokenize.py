"""Rendered text to token ids, a batch at a time: trimmed, ended, checked."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from flan_jax.data.prepare.config import FEATURES, PrepareConfig, RecordCounts
from flan_jax.data.prepare.unknown_tokens import count_unknown
from flan_jax.data.tokenizers.vocabulary import check_ids, encode_arrays
from flan_jax.errors import UserError
from flan_jax.store.store import StoredExample
from flan_jax.tasks.spec import Rendered

_BATCH = 256


def tokenize(
    rendered: Iterable[Rendered],
    recipe: PrepareConfig,
    tally: RecordCounts | None = None,
    *,
    where: str = "rendered text",
) -> Iterator[StoredExample]:
    """Ids of rendered examples, each side within its length and ended as the recipe says.

    Args:
        rendered: examples as text.
        recipe: vocabulary, lengths, and what to do with an example that is too long.
        tally: counted up: records, and those cut or dropped.
        where: names the task in errors.

    Raises:
        UserError: an example is too long and ``too_long`` is ``fail``, or the vocabulary returned
            an id that it must not return.
    """
    tally = RecordCounts() if tally is None else tally
    examples = iter(rendered)
    while batch := list(itertools.islice(examples, _BATCH)):
        tally.records += len(batch)
        ids = {
            "inputs": _inputs(batch, recipe),
            "targets": encode_arrays(recipe.vocabulary, [example.targets for example in batch])
            if recipe.chat is None
            else [recipe.chat.reply(example.targets) for example in batch],
        }
        over = {
            feature: _over(sides, recipe.lengths[feature] - len(recipe.ends[feature])) for feature, sides in ids.items()
        }
        if recipe.too_long == "truncate":
            for feature, cut in over.items():
                tally.truncated[feature] += len(cut)
            if recipe.chat is not None:  # a prompt is cut within the user's words
                room = recipe.lengths["inputs"]
                for position in over["inputs"]:
                    ids["inputs"][position] = recipe.chat.prompt_within(batch[position].inputs, room)
        elif longer := set().union(*over.values()):
            if recipe.too_long == "fail":
                raise _too_long(where, batch, ids, over, recipe)
            tally.dropped += len(longer)
            kept = [i for i in range(len(batch)) if i not in longer]
            batch = [batch[i] for i in kept]
            ids = {feature: [sides[i] for i in kept] for feature, sides in ids.items()}
        inputs, targets = (_ended(ids[feature], recipe, feature, where, batch) for feature in FEATURES)
        for feature, sides in (("inputs", inputs), ("targets", targets)):
            count_unknown(tally, recipe.vocabulary, feature, sides, _text_of(batch, feature))
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


def _inputs(batch: Sequence[Rendered], recipe: PrepareConfig) -> list[np.ndarray]:
    """The ids of inputs, without what ends them; inside a chat template, prompts for a reply."""
    if recipe.chat is None:
        return list(encode_arrays(recipe.vocabulary, [example.inputs for example in batch]))
    return [recipe.chat.prompt(example.inputs) for example in batch]


def _over(sides: Sequence[np.ndarray], room: int) -> set[int]:
    """Positions of the sides that are longer than the room before what ends them."""
    return {position for position, side in enumerate(sides) if len(side) > room}


def _ended(
    sides: Sequence[np.ndarray], recipe: PrepareConfig, feature: str, where: str, examples: Sequence[Rendered]
) -> list[np.ndarray]:
    """Each side cut to its length and ended, as views of one int32 array."""
    if not sides:
        return []
    vocabulary, end = recipe.vocabulary, recipe.ends[feature]
    room = recipe.lengths[feature] - len(end)
    parts = [part for side in sides for part in (side[:room], end)]
    joined = np.concatenate(parts, dtype=np.int32)
    ends = itertools.accumulate(map(len, parts))
    if recipe.chat is None and (
        np.count_nonzero(joined == vocabulary.eos_id) != len(sides) * np.count_nonzero(end == vocabulary.eos_id)
        or np.any(joined == vocabulary.pad_id)
        or joined.min() < 0
        or joined.max() >= vocabulary.size
    ):
        for side, example in zip(sides, examples, strict=True):
            check_ids(vocabulary, side[:room], f"the {feature} of {where}, record {example.example_id},")
    return [joined[start:stop] for start, stop in itertools.pairwise([0, *itertools.islice(ends, 1, None, 2)])]


def _too_long(
    where: str,
    batch: Sequence[Rendered],
    ids: Mapping[str, Sequence[np.ndarray]],
    over: Mapping[str, set[int]],
    recipe: PrepareConfig,
) -> UserError:
    position, feature = min((min(indices), feature) for feature, indices in over.items() if indices)
    return UserError(
        f"{where[0].upper()}{where[1:]}, record {batch[position].example_id}: its {feature} have "
        f"{len(ids[feature][position]) + len(recipe.ends[feature])} tokens with what ends them, but the length of {feature} is "
        f"{recipe.lengths[feature]}. Raise the length, or choose too_long=truncate or too_long=drop."
    )
