"""Names of accelerators, as schedulers and clouds have them, as the kinds of chips that runs are planned for."""

import dataclasses
import re

_GKE = {
    "tpu-v4-podslice": "v4",
    "tpu-v5-lite-podslice": "v5e",
    "tpu-v5-lite-device": "v5e",
    "tpu-v5p-slice": "v5p",
    "tpu-v6e-slice": "v6e",
    "tpu-v6e-device": "v6e",
    "nvidia-tesla-a100": "A100-40",
    "nvidia-a100-80gb": "A100-80",
    "nvidia-h100-80gb": "H100",
    "nvidia-h100-mega-80gb": "H100",
    "nvidia-h200-141gb": "H200",
    "nvidia-b200": "B200",
}
_SKY = {"A100": "A100-40", "A100-80GB": "A100-80", "H100": "H100", "H200": "H200", "B200": "B200"}
_TPU_TYPE = re.compile(r"(?:tpu-)?(v4|v5litepod|v5e|v5p|v6e)-(\d+)")
_CORES_A_CHIP = {"v4": 2, "v5p": 2}
"""Types that count cores; those of the others count chips."""


@dataclasses.dataclass(frozen=True)
class Chips:
    """Chips that a launch asks for.

    Attributes:
        kind: as ``flan-jax plan --target`` names it; ``""`` where it is not known.
        count: of all slices and machines together; 0 where it is not known.
        slices: TPU slices that the network alone joins.
    """

    kind: str = ""
    count: int = 0
    slices: int = 1


def gke_kind(label: str) -> str:
    """Returns the kind that a node pool's label names; ``""`` where none is known of this name.

    >>> gke_kind("tpu-v5-lite-podslice")
    'v5e'
    """
    return _GKE.get(label, "")


def tpu_chips(accelerator_type: str, slices: int = 1) -> Chips:
    """Returns the chips of slices of Google Cloud's type of a TPU.

    >>> tpu_chips("v4-32"), tpu_chips("v5litepod-16", 2)
    (Chips(kind='v4', count=16, slices=1), Chips(kind='v5e', count=32, slices=2))
    """
    found = _TPU_TYPE.fullmatch(accelerator_type)
    if not found:
        return Chips()
    kind = "v5e" if found[1] == "v5litepod" else found[1]
    return Chips(kind, int(found[2]) // _CORES_A_CHIP.get(kind, 1) * slices, slices)


def sky_chips(accelerators: str, nodes: int) -> Chips:
    """Returns the chips of machines that have what SkyPilot calls ``accelerators``.

    >>> sky_chips("H100:8", 2), sky_chips("tpu-v6e-8", 1)
    (Chips(kind='H100', count=16, slices=1), Chips(kind='v6e', count=8, slices=1))
    """
    name, _, count = accelerators.partition(":")
    tpus = tpu_chips(name, nodes)
    if tpus.kind:
        return tpus
    return Chips(_SKY[name], int(count or 1) * nodes) if name in _SKY and re.fullmatch(r"\d*", count) else Chips()
