"""Extras: named values kept beside the tokens of an example, such as what a metric reads.

Each is one Arrow column ``extra.NAME`` of a declared type: a value, a list, or a list of lists.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from flan_jax.errors import UserError, unknown

ExtraValue = np.ndarray | str | bytes | bool | int | float | Sequence[Any]
"""What may be written: an array, a plain value, or (nested) lists of them."""

EXTRA_PREFIX = "extra."
LOSS_MASK = "loss_mask"
"""The extra that says of every target token whether the loss counts it: 1, or 0. Declared as ``LOSS_MASK_TYPE``."""
TEXT, BYTES = "string", "bytes"
NUMBERS = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
)  # fmt: skip
_HIGHEST_RANK = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Extra:
    """The type of one extra.

    Attributes:
        dtype: ``"bool"``, ``"int32"``, ``"float32"`` and the like, ``"string"`` (UTF-8) or ``"bytes"``.
        rank: 0 for a value, 1 for a list, 2 for a list of lists, which may differ in length.

    Raises:
        UserError: a type or a rank that cannot be stored.
    """

    dtype: str
    rank: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in (*NUMBERS, TEXT, BYTES):
            raise unknown("type of an extra", self.dtype, (*NUMBERS, TEXT, BYTES))
        if self.rank not in range(_HIGHEST_RANK + 1):
            raise UserError(f"An extra of rank {self.rank!r} cannot be stored; the rank is 0, 1 or {_HIGHEST_RANK}.")

    @property
    def is_text(self) -> bool:
        """True where its values are strings or bytes, read back as ``bytes``."""
        return self.dtype in (TEXT, BYTES)

    def arrow_type(self) -> pa.DataType:
        """The type of its column."""
        kind = {TEXT: pa.string(), BYTES: pa.binary()}.get(self.dtype)
        kind = pa.from_numpy_dtype(self.dtype) if kind is None else kind
        for _ in range(self.rank):
            kind = pa.list_(kind)
        return kind

    def encode(self, values: Sequence[ExtraValue], where: str) -> pa.Array:
        """Encodes one value of each example as a column.

        Args:
            values: one per example.
            where: names the extra in errors.

        Raises:
            UserError: a value of another rank or kind, or one that its type cannot hold.
        """
        flat: Sequence[Any] = values
        offsets = []
        for level in range(self.rank):
            flat = [_as_list(value, self, where) for value in flat]
            counts = np.fromiter(map(len, flat), np.int64, len(flat))
            offsets.append(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
            if self.is_text or level < self.rank - 1:
                flat = [inner for value in flat for inner in value]
        column = _texts(flat, self, where) if self.is_text else _numbers(flat, self, where)
        for ends in reversed(offsets):
            column = pa.ListArray.from_arrays(pa.array(ends), column)
        return column

    def decode(self, value: pa.Scalar) -> np.ndarray | list[np.ndarray]:
        """Decodes one value of its column.

        Returns:
            rank 0: an array of shape [], whose ``[()]`` is the value; rank 1: [length]; rank 2: a
            list of [length] arrays. Numbers have exactly ``dtype``; text is an array of ``bytes``
            objects. Lists of numbers are views of the file where their bytes allow it.
        """
        if self.rank == 2:
            return [self._list(inner) for inner in value.values]
        if self.rank == 1:
            return self._list(value)
        if not self.is_text:
            return np.array(value.as_py(), self.dtype)
        scalar = np.empty((), object)
        scalar[()] = value.as_buffer().to_pybytes()
        return scalar

    def _list(self, value: pa.ListScalar) -> np.ndarray:
        values = value.values.cast(pa.binary()) if self.dtype == TEXT else value.values
        return values.to_numpy(zero_copy_only=False)


LOSS_MASK_TYPE = Extra("uint8", 1)
"""The type of ``LOSS_MASK``."""


def has_loss_mask(manifest: Mapping[str, Any], where: str) -> bool:
    """Tells whether a stored task has loss masks.

    Raises:
        UserError: its extra of that name is of another type.
    """
    declared = manifest.get("extras", {}).get(LOSS_MASK)
    if declared is None:
        return False
    if Extra(**declared) != LOSS_MASK_TYPE:
        raise UserError(
            f"{where} has an extra {LOSS_MASK!r} of type {declared['dtype']} and rank {declared['rank']}, but a mask of the "
            f"loss is a list of {LOSS_MASK_TYPE.dtype}. Declare it so, or give it another name."
        )
    return True


def check_extras(extras: Mapping[str, Extra], where: str) -> dict[str, Extra]:
    """Sorts declared extras in the order of their columns, which is by name.

    Raises:
        UserError: an extra without a name.
    """
    if not all(extras):
        raise UserError(f"{where}: an extra has no name. Give each one a name.")
    return dict(sorted(extras.items()))


def check_names(given: Iterable[str], declared: Mapping[str, Extra], where: str) -> None:
    """Checks that an example has exactly the declared extras.

    Raises:
        UserError: one is missing, or was not declared.
    """
    given = set(given)
    if missing := sorted(set(declared) - given):
        raise UserError(
            f"{where} has no extra {missing[0]!r}, which was declared. Every example must have each of them."
        )
    if given - set(declared):
        raise unknown(
            "extra", min(given - set(declared)), declared, remedy=f"{where} has it; declare it, or leave it out."
        )


def approx_bytes(value: ExtraValue) -> int:
    """Estimates how many bytes a value takes in the file."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, np.ndarray):
        return value.nbytes if value.dtype != object else sum(map(approx_bytes, value.reshape(-1).tolist()))
    return sum(map(approx_bytes, value)) if isinstance(value, list | tuple) else 8


def as_json(extras: Mapping[str, Extra]) -> dict[str, dict[str, Any]]:
    """Encodes declared extras as the manifest has them."""
    return {name: dataclasses.asdict(extra) for name, extra in sorted(extras.items())}


def _as_list(value: Any, extra: Extra, where: str) -> Any:
    """Checks that a value is a list or an array of rank 1 or more; text is neither."""
    if not isinstance(value, list | tuple | np.ndarray) and hasattr(value, "__array__"):
        value = np.asarray(value)
    if not isinstance(value, list | tuple | np.ndarray) or (isinstance(value, np.ndarray) and not value.ndim):
        raise _type_error(value, extra, where)
    return value


def _numbers(values: Sequence[Any], extra: Extra, where: str) -> pa.Array:
    """Joins numbers (rank 0) or lists of them to one Arrow array."""
    arrays = [_cast(value, extra, where) for value in values]
    joined = np.concatenate([array.reshape(-1) for array in arrays]) if arrays else np.zeros(0, extra.dtype)
    return pa.array(joined)


def _cast(value: Any, extra: Extra, where: str) -> np.ndarray:
    """Casts one array to the declared type; refuses what would change its values beyond rounding."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal length
        raise _type_error(value, extra, where) from None
    if array.ndim != min(extra.rank, 1):
        raise _type_error(value, extra, where)
    wanted = np.dtype(extra.dtype)
    if array.dtype == wanted:
        return array
    accepted = {"b": "b", "i": "biu", "u": "biu", "f": "biuf"}[wanted.kind]
    if array.size:  # a list without values has no type of its own
        if array.dtype.kind not in accepted:
            raise _type_error(value, extra, where)
        if wanted.kind in "iu" and array.dtype.kind != "b":
            limits = np.iinfo(wanted)
            if int(array.min()) < limits.min or int(array.max()) > limits.max:
                raise _type_error(value, extra, where)
    try:
        with np.errstate(over="raise"):
            return array.astype(wanted)
    except FloatingPointError:
        raise _type_error(value, extra, where) from None


def _texts(values: Sequence[Any], extra: Extra, where: str) -> pa.Array:
    """Encodes strings or bytes as one Arrow array; a string must be UTF-8."""
    encoded = []
    for value in values:
        if isinstance(value, np.ndarray) and not value.ndim:
            value = value[()]
        if not isinstance(value, str | bytes) or (isinstance(value, str) and extra.dtype == BYTES):
            raise _type_error(value, extra, where)
        try:
            encoded.append(value.encode("utf-8") if isinstance(value, str) else bytes(value))
            if extra.dtype == TEXT and isinstance(value, bytes):
                value.decode("utf-8")
        except UnicodeError:
            raise _type_error(value, extra, where) from None
    column = pa.array(encoded, pa.binary())
    return column.cast(pa.string()) if extra.dtype == TEXT else column


def _type_error(value: Any, extra: Extra, where: str) -> UserError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
    return UserError(f"{where}: {shown} is no value of type {extra.dtype} and rank {extra.rank}, which was declared.")
