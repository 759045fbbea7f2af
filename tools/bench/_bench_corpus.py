"""Tasks as large and as uneven as Super-NaturalInstructions', of random tokens, for measuring the way of the data.

The lengths follow a model with a table of quantiles, so that it runs without the data set:

    length = exp(μ_task + σ_task · z),   cut to the limit of its side

μ and σ, the mean and spread of a task's log-lengths, and z are drawn by quantile, each side by itself; the μ of the two
sides keep their rank correlation. The table is measured by

    python tools/bench/_bench_corpus.py FOLDER

where FOLDER holds ``superni/`` (the published task files and ``natinst_meta.jsonl``) and ``tokenizers/``: 126 tasks of at
most 100 instances, rendered with the definition and two worked examples, and tokenised with ALBERT's SentencePiece model
of 30,000 pieces; the number of instances is that of all 1,637 tasks listed.
"""

import dataclasses
import hashlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.store.arrow import StoredExample
from flan_jax.store.store import TokenStore

SOURCE = "Super-NaturalInstructions (Wang et al. 2022): 126 task files, rendered, ALBERT's 30,000 SentencePiece pieces"
SPLIT = "train"
VOCABULARY_SIZE = 32_000
EOS_ID = 1
_FIRST_ORDINARY_ID = 2
VOCABULARY_FILE = Path("tokenizers") / "hf_fixtures" / "spiece.model"

PROBABILITIES = (0, 0.01, *(0.05 * step for step in range(1, 20)), 0.99, 1)
# fmt: off
QUANTILES: dict[str, tuple[float, ...]] = {
    "instances": (
        26, 100, 143.6, 195.6, 249, 358, 500, 736.4, 994, 1461.2, 1496, 1998,
        2942, 3999.6, 5306.6, 6385, 6424, 6493, 6497, 6500, 6500, 6500, 6500,
    ),
    "inputs mean": (
        4.415, 4.556, 4.793, 4.916, 5.02, 5.086, 5.186, 5.24, 5.344, 5.478, 5.537, 5.612,
        5.692, 5.772, 5.853, 6.001, 6.141, 6.224, 6.365, 6.619, 6.754, 6.836, 6.868,
    ),
    "inputs spread": (
        0.018, 0.023, 0.028, 0.039, 0.045, 0.049, 0.058, 0.063, 0.069, 0.071, 0.073, 0.077,
        0.078, 0.082, 0.087, 0.09, 0.097, 0.106, 0.117, 0.145, 0.202, 0.253, 0.409,
    ),
    "inputs z": (
        -2.997, -1.867, -1.436, -1.165, -0.972, -0.847, -0.705, -0.601, -0.497, -0.391, -0.272, -0.168,
        -0.037, 0.111, 0.279, 0.469, 0.653, 0.886, 1.148, 1.422, 1.74, 2.491, 6.286,
    ),
    "targets mean": (
        0.732, 0.736, 1.036, 1.099, 1.099, 1.107, 1.424, 1.792, 2.116, 2.194, 2.271, 2.339,
        2.428, 2.525, 2.656, 2.723, 2.786, 2.888, 3.013, 3.284, 3.559, 4.364, 5.831,
    ),
    "targets spread": (
        0, 0, 0, 0.011, 0.102, 0.152, 0.185, 0.219, 0.244, 0.266, 0.282, 0.294,
        0.309, 0.319, 0.341, 0.355, 0.379, 0.416, 0.453, 0.548, 0.649, 0.787, 0.864,
    ),
    "targets z": (
        -7, -2.307, -1.564, -1.181, -0.981, -0.808, -0.644, -0.476, -0.356, -0.247, -0.178, -0.089,
        0.059, 0.185, 0.309, 0.464, 0.616, 0.784, 1.015, 1.251, 1.65, 2.419, 9.95,
    ),
}
# fmt: on
RANK_CORRELATION = 0.306


@dataclasses.dataclass(frozen=True, slots=True)
class SyntheticLengths:
    """What is written: per task, the lengths of both sides of its examples.

    Attributes:
        inputs: per task, [n] int64.
        targets: per task, [n] int64.
    """

    inputs: tuple[np.ndarray, ...]
    targets: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def names(self) -> tuple[str, ...]:
        """One name a task."""
        return tuple(f"bench_{index:05d}" for index in range(len(self)))

    def fingerprints(self, seed: int) -> tuple[str, ...]:
        """By which the store tells them from others; ``seed`` is that of the ids."""
        return tuple(
            hashlib.sha256(f"benchmark {name} {size} {seed}".encode()).hexdigest()
            for name, size in zip(self.names, self.sizes, strict=True)
        )

    @property
    def sizes(self) -> list[int]:
        """Examples of each task."""
        return [len(lengths) for lengths in self.inputs]

    @property
    def tokens(self) -> int:
        """Tokens of both sides of every example."""
        return int(sum(lengths.sum() for side in (self.inputs, self.targets) for lengths in side))


def draw(tasks: int, *, examples_per_task: int, limits: dict[str, int], seed: int) -> SyntheticLengths:
    """A corpus of ``tasks`` tasks.

    Args:
        tasks: how many.
        examples_per_task: no task has more; 0 keeps the number of instances of the data set.
        limits: ``inputs`` and ``targets`` in tokens; longer examples are cut, as ``flan-jax prepare`` does.
        seed: another seed draws others.
    """
    rng = np.random.default_rng([seed, 1])
    sizes = np.rint(_quantile("instances", _even(rng, tasks))).astype(int)
    if examples_per_task:
        sizes = np.minimum(sizes, examples_per_task)
    # Spearman's correlation of two normals with Pearson's r is 6/π · asin(r / 2).
    pearson = 2 * math.sin(math.pi / 6 * RANK_CORRELATION)
    pair = rng.multivariate_normal([0, 0], [[1, pearson], [pearson, 1]], tasks)
    sides: dict[str, tuple[np.ndarray, ...]] = {}
    for side, normal in zip(("inputs", "targets"), pair.T, strict=True):
        # Ranks keep the correlation and spread the probabilities evenly.
        means = _quantile(f"{side} mean", (np.argsort(np.argsort(normal)) + 0.5) / tasks)
        spreads = _quantile(f"{side} spread", _even(rng, tasks))
        sides[side] = tuple(
            np.clip(np.rint(np.exp(mean + spread * _quantile(f"{side} z", _even(rng, size)))), 2, limits[side]).astype(
                np.int64
            )
            for mean, spread, size in zip(means, spreads, sizes, strict=True)
        )
    return SyntheticLengths(sides["inputs"], sides["targets"])


def write_store(corpus: SyntheticLengths, store: TokenStore, seed: int) -> None:
    """Writes every task, with random ids that end in the end-of-sequence id."""
    for index, (name, fingerprint) in enumerate(zip(corpus.names, corpus.fingerprints(seed), strict=True)):
        examples = _examples(corpus.inputs[index], corpus.targets[index], np.random.default_rng([seed, 2, index]))
        store.write(name, SPLIT, fingerprint, examples, {"vocabulary_size": VOCABULARY_SIZE})


def _examples(inputs: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> Iterator[StoredExample]:
    for index, pair in enumerate(zip(inputs.tolist(), targets.tolist(), strict=True)):
        sides = [rng.integers(_FIRST_ORDINARY_ID, VOCABULARY_SIZE, length) for length in pair]
        for side in sides:
            side[-1] = EOS_ID
        yield StoredExample(inputs=sides[0], targets=sides[1], example_id=index)


def _quantile(name: str, probability: np.ndarray) -> np.ndarray:
    return np.interp(probability, PROBABILITIES, QUANTILES[name])


def _even(rng: np.random.Generator, count: int) -> np.ndarray:
    """Probabilities at even distances, shuffled: 20 tasks are then as long on average as 1,836."""
    return (rng.permutation(count) + 0.5) / count


def measure(folder: Path) -> tuple[dict[str, tuple[float, ...]], float]:
    """``QUANTILES`` and ``RANK_CORRELATION`` of the data set in ``folder``."""
    from scipy.stats import spearmanr

    with (folder / "superni" / "natinst_meta.jsonl").open(encoding="utf-8") as lines:
        instances = [json.loads(line)["number_examples"] for line in lines]
    logs: dict[str, list[np.ndarray]] = {"inputs": [], "targets": []}
    for lengths in _real_lengths(folder):
        for side, values in lengths.items():
            logs[side].append(np.log(values))
    table: dict[str, Any] = {"instances": instances}
    for side, tasks in logs.items():
        table[f"{side} mean"] = [task.mean() for task in tasks]
        table[f"{side} spread"] = [task.std() for task in tasks]
        # A task all of whose answers are equally long has no z.
        table[f"{side} z"] = np.concatenate([(task - task.mean()) / task.std() for task in tasks if task.std() > 1e-9])
    correlation = spearmanr(table["inputs mean"], table["targets mean"]).statistic
    quantiles = {
        name: tuple(round(float(value), 3) for value in np.quantile(values, PROBABILITIES))
        for name, values in table.items()
    }
    return quantiles, round(float(correlation), 3)


def _real_lengths(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    from flan_jax.data.collections.superni import EVALUATION, superni_task
    from flan_jax.data.tokenizers.sentencepiece import SentencePieceVocabulary
    from flan_jax.tasks.render import render_split
    from flan_jax.tasks.spec import Prompted

    vocabulary = SentencePieceVocabulary(folder / VOCABULARY_FILE)
    for path in sorted((folder / "superni" / "tasks").glob("*.json")):
        # The role of an evaluation task keeps the first 100 instances in one split.
        examples = list(render_split(Prompted(superni_task(path, role=EVALUATION)), "test", seed=0))
        yield {
            side: np.array([len(ids) + 1 for ids in vocabulary.encode_batch([getattr(one, side) for one in examples])])
            for side in ("inputs", "targets")
        }


if __name__ == "__main__":
    found, ranks = measure(Path(sys.argv[1]))
    for name, values in found.items():
        print(f'    "{name}": (')
        for start in (0, 12):
            print("        " + ", ".join(f"{value:g}" for value in values[start : start + 12]) + ",")
        print("    ),")
    print(f"RANK_CORRELATION = {ranks}")
