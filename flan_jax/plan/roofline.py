"""The least time of a step by a roofline: what the cores, the memory, the links and the network need each by itself.

    cores    operations of the compiled products / peak rate
    memory   bytes that instructions read and write / bandwidth
    links    bytes that a device sends inside its slice or host, by rings / the link's bandwidth
    network  the same beyond it / the device's share of the network

The step takes at least the longest of the four (`bound`: all else hidden behind it), and, were nothing hidden, their sum
(`apart`). Latencies, and products too small for the peak rate, are in neither.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.plan.targets import Target

PARTS = ("cores", "memory", "links", "network")


def roofline(
    target: Target, program: Mapping[str, Any], mesh: Mapping[str, int], hosts: Sequence[int], dtype: str
) -> dict[str, Any]:
    """Returns seconds of one run of a program: each of `PARTS`, `bound`, `apart`, and `limited_by`, the longest's name.

    Args:
        target: rates and bandwidths.
        program: of `measure.measure_program`.
        mesh: axis → size.
        hosts: of each device of the mesh, the slice or host that its links reach.
        dtype: compute dtype.
    """
    operations = program["compiled_operations"] or program["operations"] / len(hosts)
    found: dict[str, Any] = {
        "cores": operations / target.peak(dtype),
        "memory": program["traffic"] / target.bandwidth,
        "links": 0.0,
        "network": 0.0,
    }
    for each in program["collectives"]:
        beyond = crosses(each["axes"], mesh, hosts)
        found["network" if beyond else "links"] += each["wire_bytes"] / (target.network if beyond else target.link)
    seconds = {part: found[part] for part in PARTS}
    return {
        **found,
        "bound": max(seconds.values()),
        "apart": sum(seconds.values()),
        "limited_by": max(seconds, key=lambda part: seconds[part]),
    }


def crosses(axes: str, mesh: Mapping[str, int], hosts: Sequence[int]) -> bool:
    """Tells whether devices along some mesh axes stand in different slices or hosts; along unknown ones, whether any do.

    >>> crosses("data", {"data": 2, "fsdp": 2}, [0, 0, 1, 1]), crosses("fsdp", {"data": 2, "fsdp": 2}, [0, 0, 1, 1])
    (True, False)
    """
    names = list(mesh)
    along = [index for index, name in enumerate(names) if axes == "?" or name in axes.split("+")]
    placed = np.array(hosts).reshape([mesh[name] for name in names])
    return any(bool((np.diff(placed, axis=index) != 0).any()) for index in along)
