"""Names of accelerators as schedulers have them, as kinds and numbers of chips."""

import pytest

from flan_jax.launch.accelerators import Chips
from flan_jax.launch.options import GkeLaunch, LaunchConfig, LocalLaunch, SkyLaunch, SlurmLaunch, TpuVmLaunch
from flan_jax.plan.targets import TARGETS

VM = {"zone": "z", "runtime_version": "r"}


@pytest.mark.parametrize(
    ("options", "chips"),
    [
        (LocalLaunch(cpu_devices=4), Chips()),
        (LocalLaunch(processes=2, gpus_per_process=4, chip="H100"), Chips("H100", 8)),
        (SlurmLaunch(nodes=2, gpus_per_node=8), Chips("", 16)),
        (SlurmLaunch(nodes=2, gpus_per_node=8, chip="H200"), Chips("H200", 16)),
        (GkeLaunch(image="i", tpu="tpu-v5-lite-podslice", topology="4x4", slices=2), Chips("v5e", 32, 2)),
        (GkeLaunch(image="i", gpu="nvidia-h100-80gb", gpus_per_node=8, nodes=4), Chips("H100", 32)),
        (TpuVmLaunch(accelerator_type="v4-32", **VM), Chips("v4", 16)),
        (TpuVmLaunch(accelerator_type="v9-32", **VM), Chips()),
        (SkyLaunch(accelerators="A100-80GB:8", nodes=2), Chips("A100-80", 16)),
        (SkyLaunch(accelerators="tpu-v5litepod-16"), Chips("v5e", 16)),
        (SkyLaunch(accelerators="H100:many"), Chips()),
    ],
)
def test_what_a_launch_asks_for(options: LaunchConfig, chips: Chips) -> None:
    assert options.chips == chips
    assert not chips.kind or chips.kind in TARGETS
