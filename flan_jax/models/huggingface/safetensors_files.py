"""Safetensors files: reading tensor by tensor, writing in any order of tensors.

The format (safetensors' README): eight bytes with the length of a header, the header in JSON (of each tensor its
type, its shape, and where it begins and ends behind the header), and the tensors, little-endian and without gaps.
Files are read with ordinary reads: pages of a mapped file would count as memory of the process.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from flan_jax.errors import UserError

FLOATS = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(jnp.bfloat16)}
"""The types of weights that are read."""
_LONGEST_HEADER = 100_000_000  # safetensors' own limit
_METADATA = "__metadata__"


class Tensor(NamedTuple):
    """Location of one tensor.

    Attributes:
        file: the file.
        dtype: safetensors' name of the type.
        shape: of the tensor.
        start: its first byte in the file.
        size: its bytes.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int

    def read(self, name: str) -> np.ndarray:
        """Reads the values, in the dtype of the file.

        Raises:
            UserError: they are no floating-point numbers of a common type.
        """
        if self.dtype not in FLOATS:
            raise UserError(
                f"Tensor {name!r} in {self.file} has the type {self.dtype}, as in quantised weights; weights of type "
                f"{', '.join(FLOATS)} are read. Take the files of the model as it was before it was quantised."
            )
        count = math.prod(self.shape)
        values = np.fromfile(self.file, FLOATS[self.dtype], count, offset=self.start)
        if values.size != count:
            raise UserError(f"{self.file} was cut short while it was read. Download it again.")
        return values.reshape(self.shape)


def read_header(path: Path) -> dict[str, Tensor]:
    """Reads a file's header: its tensors by name, in file order.

    Raises:
        UserError: there is no such file, it is of another kind, damaged, or cut short.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(8)
            if beginning == b"version ":
                raise UserError(f"{path} is a pointer of Git LFS, not the weights. Fetch them with `git lfs pull`.")
            length = int.from_bytes(beginning, "little")
            if len(beginning) < 8 or not 2 <= length <= min(size - 8, _LONGEST_HEADER):
                raise _unreadable(path, "its header is longer than the file")
            header = json.loads(file.read(length).decode("utf-8"))
        header.pop(_METADATA, None)
        start = 8 + length
        found = {
            name: Tensor(
                path, str(of["dtype"]), tuple(map(int, of["shape"])), start + int(of["data_offsets"][0]),
                int(of["data_offsets"][1]) - int(of["data_offsets"][0]),
            )
            for name, of in header.items()
        }  # fmt: skip
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Download it, or take the whole folder again.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise _unreadable(path, "its header is damaged") from error
    end = max((tensor.start + tensor.size for tensor in found.values()), default=start)
    if end > size:
        raise UserError(f"{path} is cut short: it has {size:,} bytes of {end:,}. Download it again.")
    for name, tensor in found.items():
        width = FLOATS[tensor.dtype].itemsize if tensor.dtype in FLOATS else None
        if tensor.size < 0 or tensor.start < start or (width and tensor.size != width * math.prod(tensor.shape)):
            raise _unreadable(path, f"the place of {name!r} does not fit its shape")
    return dict(sorted(found.items(), key=lambda item: item[1].start))


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(f"{path} cannot be read as a safetensors file: {why}. Download it again.")


class LazyTensors(Mapping[str, np.ndarray]):
    """Lazy mapping of tensors in files: each is read when asked for and never kept."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = dict(tensors)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.tensors[name].read(name)

    def __contains__(self, name: object) -> bool:  # the inherited one reads the tensor
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def make_header(shapes: Mapping[str, tuple[int, ...]], dtype: str) -> tuple[bytes, dict[str, int]]:
    """Creates the header of a file as safetensors' own writer does, and the offset of each tensor.

    Args:
        shapes: of the tensors.
        dtype: safetensors' name of their type.
    """
    header: dict[str, Any] = {_METADATA: {"format": "pt"}}
    end = 0
    starts = {}
    for name in sorted(shapes):  # of several types the widest would come first
        size = FLOATS[dtype].itemsize * math.prod(shapes[name])
        header[name] = {"dtype": dtype, "shape": list(shapes[name]), "data_offsets": [end, end + size]}
        starts[name] = end
        end += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    first = 8 + len(text)
    return len(text).to_bytes(8, "little") + text, {name: first + start for name, start in starts.items()}


class FileWriter:
    """Writes a file of tensors that come in any order; it gets its name when all of them are there.

    Args:
        path: of the file.
        shapes: of all tensors.
        dtype: safetensors' name of their type.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str) -> None:
        self.path, self._dtype = path, FLOATS[dtype]
        self._temporary = path.with_name(f".{path.name}.part")
        header, self._starts = make_header(shapes, dtype)
        self._shapes, self._left = dict(shapes), set(shapes)
        with self._temporary.open("wb") as file:
            file.write(header)

    def put(self, name: str, values: np.ndarray) -> None:
        """Writes one tensor, rounded to the file's type."""
        if values.shape != self._shapes[name]:
            raise ValueError(f"{name}: shape {values.shape}, announced as {self._shapes[name]}")
        rounded = np.ascontiguousarray(values.astype(self._dtype, copy=False))
        with self._temporary.open("r+b") as file:
            file.seek(self._starts[name])
            file.write(rounded.reshape(-1).view(np.uint8).data)  # `tofile` does not say why it fails
        self._left.discard(name)

    def finish(self) -> None:
        """Gives the file its name."""
        if self._left:
            raise ValueError(f"{self.path.name} lacks {sorted(self._left)[:3]}")
        os.replace(self._temporary, self.path)

    def discard(self) -> None:
        """Removes what was written."""
        self._temporary.unlink(missing_ok=True)


def shards(sizes: Iterable[tuple[str, int]], largest: int) -> list[list[str]]:
    """Groups tensors into files as transformers does: in their order, and one over the limit alone.

    >>> shards([("a", 6), ("b", 6), ("c", 2), ("d", 20), ("e", 2)], 10)
    [['a'], ['d'], ['b', 'c', 'e']]
    """
    done: list[list[str]] = []
    current: list[str] = []
    total = 0
    for name, size in sizes:
        if size > largest:
            done.append([name])
            continue
        if total + size > largest:
            done.append(current)
            current, total = [], 0
        current.append(name)
        total += size
    return [*done, *([current] if current else [])]
