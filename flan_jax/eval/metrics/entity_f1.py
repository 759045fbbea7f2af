"""The F1 of named entities that an answer lists, as ``Ada Bell (person), Tarn (location)``."""

import collections
import re
from collections.abc import Sequence

import numpy as np

from flan_jax.eval.metrics.metric import Metric, References

_BETWEEN = re.compile(r"(?<=\)),\s*")
_ENTITY = re.compile(r"(?P<name>.+?)\s*\((?P<kind>[^()]+)\)\.?", re.DOTALL)

Entity = tuple[str, str]


def entities(text: str) -> collections.Counter[Entity]:
    """Counts the entities of an answer, (name, kind) each; a part that is no ``name (kind)`` is none.

    Upper case counts in names and not in kinds; white space is closed up.

    >>> sorted(entities("Ada Bell (person), The Who, Inc. (Group), none"))
    [('Ada Bell', 'person'), ('The Who, Inc.', 'group')]
    """
    found = (_ENTITY.fullmatch(part.strip()) for part in _BETWEEN.split(text.strip()))
    return collections.Counter(
        (" ".join(match["name"].split()), " ".join(match["kind"].lower().split())) for match in found if match
    )


def _statistics(predictions: Sequence[str], references: References) -> np.ndarray:
    """``[n, 3]``: entities rightly predicted, predicted, expected; of several references, those that fit best."""
    rows = []
    for prediction, accepted in zip(predictions, references, strict=True):
        ours = entities(prediction)
        counts = [((ours & theirs).total(), ours.total(), theirs.total()) for theirs in map(entities, accepted)]
        rows.append(max(counts, key=lambda row: float(_f1(np.asarray(row, np.float64), 1))))
    return np.asarray(rows, np.float64).reshape(-1, 3)


def _f1(sums: np.ndarray, count: int) -> np.ndarray:
    """2 right / (predicted + expected), and 1 where there was nothing to find and nothing was found."""
    right, both = sums[..., 0], sums[..., 1] + sums[..., 2]
    return np.where(both > 0, 2 * right / np.maximum(both, 1), 1.0)


ENTITY_F1 = Metric("entity_f1", _statistics, aggregate=_f1, example_scores=lambda rows: _f1(rows, 1))
"""F1 over all entities of all examples, names and kinds exact (Tjong Kim Sang & De Meulder 2003, CoNLL's evaluation)."""
