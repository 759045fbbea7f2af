"""A run of a study as it is decided before anything runs (``RunPlan``)."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from flan_jax.experiments.config import plain

DIGEST_LENGTH = 16
"""Hexadecimal digits of a digest: two plans of one study share theirs by accident in one of 2**64 cases."""


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """One run of a study, as decided by the study's seed before anything runs.

    Attributes:
        index: 0-based, in the order of the study.
        name: ``run_0007``; of its folder too.
        levels: name of a factor → its level in this run, as JSON holds it: what tables and fits show.
        weights: unit (task, cluster or entry of the mixture) → share of draws, summing to 1; empty where a study does
            not vary weights.
        options: run options that differ from the base run, by gin's names: ``seed``, ``weights``,
            ``OptimizerConfig.learning_rate``.
        replicate: 0-based, among runs that are equal but for the seed.
    """

    index: int
    name: str
    levels: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    replicate: int = 0

    def digest(self) -> str:
        """Returns a digest of everything but ``index`` and ``name``; the order of mappings does not count."""
        return digest_of(
            {
                "levels": self.levels,
                "weights": self.weights,
                "options": self.options,
                "replicate": self.replicate,
            }
        )


def digest_of(values: Any) -> str:
    """Returns a digest of values that JSON can hold, ``DIGEST_LENGTH`` hexadecimal digits of SHA-256.

    >>> digest_of({"a": 1, "b": (2, 3)}) == digest_of({"b": [2, 3], "a": 1})
    True
    """
    text = json.dumps(plain(values), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]
