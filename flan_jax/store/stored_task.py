"""Reads one prepared split of a task."""

from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from flan_jax.store.arrow import ArrowTokens, StoredExample
from flan_jax.store.extras import Extra
from flan_jax.store.manifest import ARROW_FILE, REBUILD_HINT, DamagedError


class TaskFolder(Protocol):
    """The folder of a task, in a store of this machine or in a remote one."""

    @property
    def place(self) -> Path | str:
        """Its path, or its address in a remote store."""

    def fetch(self, manifest: dict[str, Any]) -> Path:
        """Returns the file of examples on this machine, fetching it from a remote store into the cache where needed.

        Raises:
            UserError: it cannot be fetched, or its checksum is wrong.
        """


class StoredTask:
    """One prepared split of a task, mapped into memory when its tokens are first asked for.

    Attributes:
        name: the task.
        split: the split.
        fingerprint: hexadecimal digest of everything that the tokens depend on.
        manifest: ``manifest.json``.
        folder: its path, or its address in a remote store.
    """

    def __init__(self, folder: TaskFolder, manifest: dict[str, Any]) -> None:
        self._folder = folder
        self.folder: Path | str = folder.place
        self.manifest = manifest
        self.name: str = manifest["name"]
        self.split: str = manifest["split"]
        self.fingerprint: str = manifest["fingerprint"]

    def __reduce__(self) -> tuple[type["StoredTask"], tuple[TaskFolder, dict[str, Any]]]:
        return StoredTask, (self._folder, self.manifest)  # mapped files are opened again where they are needed

    def __len__(self) -> int:
        return int(self.manifest["num_examples"])

    def __repr__(self) -> str:
        return f"StoredTask({self.name!r}, {self.split!r}, {self.fingerprint[:16]!r}, {len(self)} examples)"

    def fetch(self) -> Path:
        """Returns the file of examples on this machine, fetching it from a remote store where needed.

        Raises:
            UserError: it cannot be fetched, or its checksum is wrong.
        """
        return self._folder.fetch(self.manifest)

    @cached_property
    def tokens(self) -> ArrowTokens:
        """The memory-mapped file of examples.

        Raises:
            UserError: the file cannot be fetched or read as Arrow, or is not what the manifest says.
        """
        path = self.fetch()
        try:
            tokens = ArrowTokens(path, np.dtype(self.manifest["token_type"]), self.extra_types)
            tokens.check(
                examples=len(self),
                input_tokens=self.manifest["input_tokens"],
                target_tokens=self.manifest["target_tokens"],
            )
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise DamagedError(
                f"Store file {self.folder}/{ARROW_FILE} cannot be read ({error}). {REBUILD_HINT}"
            ) from error
        return tokens

    def inputs(self, index: int) -> np.ndarray:
        """[length] unsigned token ids, a view."""
        return self.tokens.inputs[self._checked_index(index)]

    def targets(self, index: int) -> np.ndarray:
        """[length] unsigned token ids, a view."""
        return self.tokens.targets[self._checked_index(index)]

    @cached_property
    def input_lengths(self) -> np.ndarray:
        """[n] int32, in tokens."""
        return self.tokens.inputs.lengths()

    @cached_property
    def target_lengths(self) -> np.ndarray:
        """[n] int32, in tokens."""
        return self.tokens.targets.lengths()

    @cached_property
    def example_ids(self) -> np.ndarray:
        """[n] int64, the index of each record in its split."""
        return self.tokens.integers("example_id")

    @cached_property
    def template_ids(self) -> np.ndarray:
        """[n] int32, the template that rendered each example."""
        return self.tokens.integers("template_id")

    def options(self, index: int) -> tuple[str, ...]:
        """The closed set that is scored, or ``()``."""
        return self.tokens.strings("options", self._checked_index(index))

    def references(self, index: int) -> tuple[str, ...]:
        """Every accepted answer."""
        return self.tokens.strings("references", self._checked_index(index))

    @cached_property
    def extra_types(self) -> dict[str, Extra]:
        """The type of every extra, by name."""
        return {name: Extra(**kind) for name, kind in self.manifest.get("extras", {}).items()}

    def extras(self, index: int) -> dict[str, np.ndarray | list[np.ndarray]]:
        """Reads every extra by name.

        Numbers have the declared type, text is an array of ``bytes`` objects. Rank 0 has the shape
        [], rank 1 [length]; rank 2 is a list of [length] arrays, even where all are equally long.
        """
        row = self._checked_index(index)
        return {name: self.tokens.extra(name, extra, row) for name, extra in self.extra_types.items()}

    def example(self, index: int) -> StoredExample:
        """Reads one whole example."""
        return StoredExample(
            inputs=self.inputs(index),
            targets=self.targets(index),
            example_id=int(self.example_ids[index]),
            template_id=int(self.template_ids[index]),
            options=self.options(index),
            references=self.references(index),
            extras=self.extras(index),
        )

    def _checked_index(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {self.name!r}, which has {len(self)}")
        return index
