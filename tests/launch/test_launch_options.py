"""Resources that make no sense are refused before anything is written."""

import pytest

from flan_jax.errors import UserError
from flan_jax.launch.options import GkeLaunch, LocalLaunch, SkyLaunch, SlurmLaunch, TpuVmLaunch, chips

IMAGE = {"image": "registry/flan-jax:1"}
VM = {"zone": "us-east5-b", "accelerator_type": "v5litepod-16", "runtime_version": "v2-alpha-tpuv5-lite"}


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        (LocalLaunch, {"name": "Big Run"}, "small letters, digits and hyphens"),
        (LocalLaunch, {"env": ("HF_HUB_OFFLINE",)}, "no NAME=VALUE"),
        (LocalLaunch, {"env": ("HF_TOKEN=abc",)}, "looks like a secret"),
        (LocalLaunch, {"processes": 0}, "processes"),
        (SlurmLaunch, {"gpus_per_node": 8, "tasks_per_node": 2}, "Set tasks_per_node to 1 or to 8"),
        (SlurmLaunch, {"array": 4, "nodes": 2}, "Leave nodes and tasks_per_node at 1"),
        (SlurmLaunch, {"array_parallel": 2}, "there is no array"),
        (SlurmLaunch, {"mounts": ("/data:/data",)}, "there is no container"),
        (SlurmLaunch, {"image": "a", "mounts": ("/data",)}, "FROM:TO"),
        (SlurmLaunch, {"container_runtime": "docker"}, "container_runtime"),
        (GkeLaunch, {}, "image is not set: pods run in a container"),
        (GkeLaunch, {**IMAGE, "tpu": "tpu-v6e-slice"}, "tpu and topology belong together"),
        (GkeLaunch, {**IMAGE, "tpu": "tpu-v6e-slice", "topology": "4x4", "nodes": 2}, "a machine has one kind"),
        (GkeLaunch, {**IMAGE, "gpu": "nvidia-l4"}, "gpu and gpus_per_node belong together"),
        (GkeLaunch, {**IMAGE, "slices": 2}, "only TPUs have slices"),
        (GkeLaunch, {**IMAGE, "array": 3, "nodes": 2}, "a study's worker is one"),
        (GkeLaunch, {**IMAGE, "mounts": ("runs",)}, "CLAIM:/PATH"),
        (TpuVmLaunch, {}, "zone is not set"),
        (TpuVmLaunch, {**VM, "spot": True, "reserved": True}, "a machine is of one kind"),
        (SkyLaunch, {"mounts": ("runs:s3://b",)}, "/PATH:SOURCE"),
    ],
)
def test_refuses(kind, given, says):
    with pytest.raises(UserError) as refused:
        kind(**given)
    assert says in str(refused.value)
    assert "abc" not in str(refused.value)


def test_counts_the_hosts_of_slices():
    assert GkeLaunch(**IMAGE, tpu="tpu-v5-lite-podslice", topology="4x4", slices=2).pods == 8
    assert GkeLaunch(**IMAGE, tpu="tpu-v5-lite-podslice", topology="2x2").hosts == 1
    assert GkeLaunch(**IMAGE, tpu="tpu-v4-podslice", topology="2x2x4").hosts == 4
    with pytest.raises(UserError, match="two or three numbers"):
        chips("4 x 4")
