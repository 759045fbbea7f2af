"""Data sets of the Hugging Face hub, read with the package ``datasets``."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flan_jax.data.sources.base import check_split, digest, known_splits
from flan_jax.data.sources.hub_access import offline_if_unreachable, training_splits
from flan_jax.errors import RecordError, UserError
from flan_jax.tasks.source import NumberedRecord, Source

_log = logging.getLogger(__name__)
CONVERTED = "refs/convert/parquet"
"""The hub's branch of a data set that was a script, which ``datasets`` no longer runs."""


@dataclasses.dataclass(frozen=True)
class HubSource(Source):
    """A data set of the Hugging Face hub. See ``hf``."""

    name: str
    config: str | None
    revision: str | None
    parts: tuple[tuple[str, str], ...]
    order: Callable[[int], Sequence[int]] | None = None
    """Which rows are read, and in what order, given how many there are; ``None`` for all as they stand."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that were named."""
        return tuple(split for split, _ in self.parts)

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Downloads the data set, or finds it in the cache, and yields its rows.

        Raises:
            UserError: the package ``datasets`` is missing, or it cannot load the data set.
        """
        check_split(self, split)
        try:
            import datasets
        except ImportError as error:
            raise UserError(
                f"{self.describe()} needs the package 'datasets'. Install it: pip install datasets"
            ) from error
        part = dict(self.parts)[split]
        try:
            with offline_if_unreachable():
                rows = self._load(datasets, part)
        except (OSError, ValueError, RuntimeError) as error:  # no network, no such data set or split, or a script
            first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{self.describe()}, split {part!r}: cannot be loaded ({first_line}). Check its name and the network."
            ) from error
        if self.order is not None:
            rows = rows.select(self.order(len(rows)))
        yield from _rows(rows, f"{self.describe()}, split {part!r}")

    def _load(self, datasets: Any, part: str) -> Any:
        """Loads the rows of a split; where there is none called ``train``, those of the splits whose names say so."""
        # The branch that the hub converts scripts to has a folder where the script had a configuration.
        converted = self.revision == CONVERTED
        where = {"data_dir" if converted else "name": self.config}
        try:
            return datasets.load_dataset(self.name, split=part, revision=self.revision, **where)
        except ValueError:
            if part != "train":
                raise
            named = {"data_dir" if converted else "config_name": self.config}
            names = datasets.get_dataset_split_names(self.name, revision=self.revision, **named)
            if part in names:
                raise
            trained = training_splits(names)
            if not trained:
                raise UserError(
                    f"{self.describe()} has no split 'train', and no name of those that it has ({', '.join(names)}) says "
                    "that it is trained on. Name one in Python with instruction_source(…, train='NAME'), or fetch its file."
                ) from None
            left = [name for name in names if name not in trained.split("+")]
            _log.warning(
                "%s has no split 'train': read is %s%s",
                self.describe(),
                trained,
                f", not used: {', '.join(left)}" if left else "",
            )
            return datasets.load_dataset(self.name, split=trained, revision=self.revision, **where)

    def fingerprint(self, split: str) -> str:
        """Digest of name, config, revision and split: a revision pins the content, a branch name does not."""
        check_split(self, split)
        order = () if self.order is None else (self.order,)
        return digest("hf", self.name, self.config, self.revision, dict(self.parts)[split], *order)

    def describe(self) -> str:
        """Name, config and revision."""
        at = f"@{self.revision}" if self.revision else ""
        return f"Hugging Face data set {self.name!r}{f' ({self.config})' if self.config else ''}{at}"


def _rows(rows: Any, where: str) -> Iterator[NumberedRecord]:
    """Yields the rows of a data set. An iterator that failed is at its end, so another goes on behind the bad row."""
    index = 0
    while index < len(rows):
        remaining = iter(rows.select(range(index, len(rows))) if index else rows)
        while index < len(rows):
            try:
                row = next(remaining)
            except Exception as error:  # whatever a feature's decoder raises
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                yield index, RecordError(f"{where}, record {index}: cannot be decoded ({reason}).")
                index += 1
                break
            yield index, row
            index += 1


def hf(
    name: str,
    config: str | None = None,
    *,
    revision: str | None = None,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
) -> HubSource:
    """Makes a source of a Hugging Face data set; each split is a split expression such as ``train[:1000]``."""
    given = {"train": train, "validation": validation, "test": test}
    parts = tuple((split, part) for split, part in given.items() if part is not None)
    known_splits(f"hf({name!r})", [split for split, _ in parts])
    return HubSource(name, config, revision, parts)
