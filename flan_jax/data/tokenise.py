"""Rendered text to token ids, a batch at a time: trimmed, ended, checked."""

import itertools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from flan_jax.data.recipe import FEATURES, Recipe, Tally
from flan_jax.data.tokenizers import check_ids
from flan_jax.errors import UserError
from flan_jax.feed.store import StoredExample
from flan_jax.tasks.spec import Rendered

_BATCH = 256


def tokenise(
    rendered: Iterable[Rendered], recipe: Recipe, tally: Tally | None = None, *, where: str = "rendered text"
) -> Iterator[StoredExample]:
    """Ids of rendered examples, each side within its length and ended by the end-of-sequence id.

    Args:
        rendered: examples as text.
        recipe: vocabulary, lengths, and what to do with an example that is too long.
        tally: counted up: records, and those cut or dropped.
        where: names the task in errors.

    Raises:
        UserError: an example is too long and ``too_long`` is ``fail``, or the vocabulary returned
            an id that it must not return.
    """
    tally = Tally() if tally is None else tally
    examples = iter(rendered)
    while batch := list(itertools.islice(examples, _BATCH)):
        tally.records += len(batch)
        ids = {
            feature: recipe.vocabulary.encode_batch([getattr(example, feature) for example in batch])
            for feature in FEATURES
        }
        too_long = {feature: [len(side) >= recipe.lengths[feature] for side in sides] for feature, sides in ids.items()}
        kept = list(range(len(batch)))
        if recipe.too_long == "truncate":
            for feature, flags in too_long.items():
                tally.truncated[feature] += sum(flags)
        elif any(map(any, too_long.values())):
            kept = [i for i in kept if not any(flags[i] for flags in too_long.values())]
            if recipe.too_long == "fail":
                raise _too_long(where, batch, ids, too_long, recipe)
            tally.dropped += len(batch) - len(kept)
        sides = {
            feature: _ended([ids[feature][i] for i in kept], recipe, feature, where, [batch[i] for i in kept])
            for feature in FEATURES
        }
        for position, i in enumerate(kept):
            example = batch[i]
            yield StoredExample(
                inputs=sides["inputs"][position],
                targets=sides["targets"][position],
                example_id=example.example_id,
                template_id=example.template_id,
                options=example.options,
                references=example.references,
            )


def _ended(
    sides: list[list[int]], recipe: Recipe, feature: str, where: str, examples: list[Rendered]
) -> list[np.ndarray]:
    """Each side cut to its length less one and ended, as views of one int32 array."""
    vocabulary, room = recipe.vocabulary, recipe.lengths[feature] - 1
    sides = [side[:room] for side in sides]
    joined = np.fromiter(itertools.chain.from_iterable(sides), np.int64, sum(map(len, sides)))
    ends = np.cumsum([len(side) for side in sides], dtype=np.int64)
    wrong = (joined == vocabulary.eos_id) | (joined == vocabulary.pad_id) | (joined < 0) | (joined >= vocabulary.size)
    if wrong.any():
        owner = int(np.searchsorted(ends, np.argmax(wrong), side="right"))
        check_ids(vocabulary, joined[wrong], f"the {feature} of {where}, record {examples[owner].example_id},")
    with_ends = np.insert(joined, ends, vocabulary.eos_id).astype(np.int32)
    return np.split(with_ends, (ends + np.arange(1, len(sides) + 1))[:-1]) if sides else []


def _too_long(
    where: str,
    batch: list[Rendered],
    ids: Mapping[str, list[list[int]]],
    too_long: Mapping[str, list[bool]],
    recipe: Recipe,
) -> UserError:
    position, feature = min((flags.index(True), feature) for feature, flags in too_long.items() if any(flags))
    return UserError(
        f"{where[0].upper()}{where[1:]}, record {batch[position].example_id}: its {feature} have {len(ids[feature][position]) + 1} tokens with the "
        f"end of sequence, but the length of {feature} is {recipe.lengths[feature]}. Raise the length, or choose "
        "too_long=truncate or too_long=drop."
    )
