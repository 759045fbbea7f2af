"""Reads the groups of devices that a collective runs over, in the three forms that XLA prints, and names their mesh axes."""

import math
import re
from collections.abc import Sequence

import numpy as np

_LISTED = re.compile(r"replica_groups=\{(\{[\d,{} ]*\})\}")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(
    r"replica_groups=@?mesh\[([^\]]*)\](?:, ?device_ids=\((?:\[([\d,]+)\](?:T\(([\d,]+)\))?|([\d, ]+))\))?\s*\{([^}]*)\}"
)
_PAIRS = re.compile(r"source_target_pairs=\{(\{[\d,{} ]*\})\}")


def groups(attributes: str, devices: int) -> list[list[int]] | None:
    """Returns the groups of an instruction, each a list of device numbers; `None` where its form is not known.

    Without any groups, all devices are one.

    >>> groups("replica_groups=[2,2]<=[2,2]T(1,0), dimensions={0}", 4)
    [[0, 2], [1, 3]]
    """
    if found := _LISTED.search(attributes):
        return [_numbers(part) for part in re.findall(r"\{([^}]*)\}", found[1])]
    if found := _PAIRS.search(attributes):
        return _cycles([_numbers(part) for part in re.findall(r"\{([^}]*)\}", found[1])])
    if found := _IOTA.search(attributes):
        shape, over = _numbers(found[1]), _numbers(found[2])
        return _turned(over, found[3]).reshape(shape).tolist()
    if found := _MESH.search(attributes):
        ids = np.array(_numbers(found[4])) if found[4] else np.arange(devices)
        return _of_mesh(found[1], found[5], _turned(_numbers(found[2]), found[3]) if found[2] else ids)
    if "replica_groups={}" in attributes or "replica_groups" not in attributes:
        return [list(range(devices))]
    return None


def _turned(shape: Sequence[int], order: str | None) -> np.ndarray:
    """Device numbers of an array of `shape`, in the order that its transposed axes have them."""
    ids = np.arange(math.prod(shape)).reshape(shape)
    return ids.transpose(_numbers(order)).reshape(-1) if order else ids.reshape(-1)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip()]


def _cycles(pairs: Sequence[Sequence[int]]) -> list[list[int]]:
    """Devices that pass something on to each other, directly or not."""
    owner: dict[int, set[int]] = {}
    for source, target in pairs:
        joined = owner.get(source, {source}) | owner.get(target, {target})
        for device in joined:
            owner[device] = joined
    return [sorted(group) for group in {id(group): group for group in owner.values()}.values()]


def _of_mesh(axes: str, over: str, ids: np.ndarray) -> list[list[int]] | None:
    """Groups over some axes, or parts of axes, of a mesh of these devices: `'a'=8,'b'=2` and `'a':(1)4,'b'`."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    if math.prod(sizes.values()) != len(ids):
        return None
    wanted = re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", over)
    dims: list[int] = []
    chosen: list[int] = []
    for name, size in sizes.items():
        part = next(
            ((int(before or 1), int(length or size)) for other, before, length in wanted if other == name), None
        )
        if part is None:
            dims.append(size)
            continue
        before, length = part
        chosen.append(len(dims) + 1)
        dims += [before, length, size // before // length]
    together = math.prod(dims[axis] for axis in chosen)
    return np.moveaxis(ids.reshape(dims), chosen, range(-len(chosen), 0)).reshape(-1, together).tolist()


def axes_of(found: Sequence[Sequence[int]] | None, mesh: dict[str, int]) -> str:
    """Names the mesh axes along which the devices of a group differ, `fsdp` or `data+fsdp`.

    Args:
        found: as `groups` gives them.
        mesh: axis → size, outermost first; device numbers count along it.

    Returns:
        `none` where every group is one device, `?` where the groups are not known.
    """
    if found is None:
        return "?"
    shape = tuple(mesh.values())
    differ = [False] * len(shape)
    for group in found:
        places = np.array(np.unravel_index(np.array(group), shape))
        for axis in range(len(shape)):
            differ[axis] |= bool((places[axis] != places[axis][0]).any())
    return "+".join(name for name, apart in zip(mesh, differ, strict=True) if apart) or "none"
