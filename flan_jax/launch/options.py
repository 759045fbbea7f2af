"""Options of each launch target: one frozen dataclass a target, bound by gin or by flags of the command line."""

import dataclasses
import re
from typing import Annotated, Literal

from flan_jax.errors import UserError
from flan_jax.launch.accelerators import Chips, gke_kind, sky_chips, tpu_chips
from flan_jax.typed import Natural, Positive, Range, check_fields

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIALS?)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class LaunchConfig:
    """Options that every target takes.

    Attributes:
        name: of the launch: small letters, digits and hyphens; by default the last part of the run's folder.
        env: environment variables of the processes, as NAME=VALUE.
        chip: kind that the run is planned for, as flan-jax plan --target names it: H100; by default what the options say.
    """

    name: str = ""
    env: tuple[str, ...] = ()
    chip: str = ""

    @property
    def devices(self) -> int:
        """Devices of all processes together; 0 where the options do not say."""
        return 0

    @property
    def chips(self) -> Chips:
        """Chips of all processes together, as far as the options say."""
        return Chips(self.chip, self.devices)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.name and not _NAME.fullmatch(self.name):
            raise UserError(
                f"name is {self.name!r}; schedulers take small letters, digits and hyphens, a letter first and 40 at most. "
                "Choose another one."
            )
        for pair in self.env:
            name, equals, _ = pair.partition("=")
            if not equals or not _VARIABLE.fullmatch(name):
                raise UserError(f"env has {name!r}, which is no NAME=VALUE. Write it as in env=HF_HUB_OFFLINE=1.")
            if _SECRET.search(name):
                raise UserError(
                    f"env has {name}, which looks like a secret, and what is submitted is written to files. Give it to the "
                    "machines by the scheduler's own means instead."
                )


@dataclasses.dataclass(frozen=True)
class LocalLaunch(LaunchConfig):
    """Processes on this machine, over loopback.

    Attributes:
        max_restarts: how often exit code 75 starts the command again.
        processes: how many.
        gpus_per_process: GPUs that each process sees, in the order of the processes; 0 leaves the choice to JAX.
        cpu_devices: devices that each process simulates on the CPU; 0 for none.
        grace_s: seconds that the others have to end once one process has ended otherwise than well.
    """

    max_restarts: Natural = 3
    processes: Positive = 1
    gpus_per_process: Natural = 0
    cpu_devices: Natural = 0
    grace_s: Positive = 60

    @property
    def devices(self) -> int:
        """Devices of all processes together; 0 where the options do not say."""
        return self.processes * (self.cpu_devices or self.gpus_per_process)

    @property
    def chips(self) -> Chips:
        """GPUs of all processes where their kind is told; this machine's own are seen when the run starts."""
        return Chips(self.chip, self.processes * self.gpus_per_process) if self.chip else Chips()


@dataclasses.dataclass(frozen=True)
class SlurmLaunch(LaunchConfig):
    """A batch job of Slurm, one task a node.

    Attributes:
        max_restarts: how often exit code 75, a preemption or a lost node starts the command again.
        nodes: of the job, or of each worker of an array.
        tasks_per_node: processes a node; more than one with GPUs only where each has its own.
        gpus_per_node: GPUs of a node; 0 for none.
        cpus_per_task: processors of a process; 0 for the partition's default.
        memory: of a node, as in 64G; by default the partition's.
        time_limit: as in 24:00:00 or 2-00:00:00; by default the partition's.
        partition: by default the cluster's.
        account: that is charged.
        qos: quality of service.
        constraint: features that the nodes must have.
        reservation: to run in.
        array: workers of a study, each a task of an array job; 0 for one job.
        array_parallel: so many workers at a time at most; 0 for all.
        image: of the container to run in; by default none.
        container_runtime: pyxis (srun's own options) or apptainer.
        mounts: folders seen in the container, as FROM:TO.
        setup: lines of shell before the command, such as "module load cuda".
        grace_s: seconds between SIGTERM and the time limit, in which the checkpoint is saved.
    """

    max_restarts: Natural = 100
    nodes: Positive = 1
    tasks_per_node: Positive = 1
    gpus_per_node: Natural = 0
    cpus_per_task: Natural = 0
    memory: str = ""
    time_limit: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    reservation: str = ""
    array: Natural = 0
    array_parallel: Natural = 0
    image: str = ""
    container_runtime: Literal["pyxis", "apptainer"] = "pyxis"
    mounts: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    grace_s: Annotated[int, Range(1, 65535)] = 120

    @property
    def devices(self) -> int:
        """GPUs of all nodes; 0 where none are asked for."""
        return self.nodes * self.gpus_per_node

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gpus_per_node and self.tasks_per_node not in (1, self.gpus_per_node):
            raise UserError(
                f"tasks_per_node is {self.tasks_per_node} and gpus_per_node {self.gpus_per_node}: a process has all GPUs of its "
                f"node or one. Set tasks_per_node to 1 or to {self.gpus_per_node}."
            )
        if self.array and self.nodes * self.tasks_per_node > 1:
            raise UserError(
                f"array is {self.array} and a worker would be {self.nodes * self.tasks_per_node} processes: a study's worker is "
                "one. Leave nodes and tasks_per_node at 1."
            )
        if self.array_parallel and not self.array:
            raise UserError(
                f"array_parallel is {self.array_parallel}, but there is no array. Set array, or leave it out."
            )
        if self.mounts and not self.image:
            raise UserError("mounts is set, but there is no container. Set image, or leave it out.")
        for mount in self.mounts:
            if mount.count(":") != 1 or mount.startswith(":") or mount.endswith(":"):
                raise UserError(f"mounts has {mount!r}. Write it as FROM:TO.")


@dataclasses.dataclass(frozen=True)
class GkeLaunch(LaunchConfig):
    """A JobSet of Kubernetes on TPU slices or on GPU nodes; with an array a Job whose pods are workers of a study.

    Attributes:
        max_restarts: how often exit code 75, a preemption or a lost node starts the command again.
        image: of the container.
        namespace: of Kubernetes.
        tpu: kind of TPU, as node pools label it: tpu-v5-lite-podslice.
        topology: of a TPU slice, as in 4x4.
        chips_per_host: TPU chips of a machine.
        slices: TPU slices that train together.
        gpu: kind of GPU, as node pools label it: nvidia-h100-80gb.
        nodes: machines with GPUs, or without accelerators, together.
        gpus_per_node: GPUs of a machine.
        array: workers of a study; 0 for one run.
        array_parallel: so many workers at a time at most; 0 for all.
        queue: Kueue's local queue to wait in.
        priority_class: of the pods; with a queue, Kueue's workload priority class.
        service_account: of Kubernetes, for access to buckets.
        spot: take machines that may be taken away.
        reservation: of machines.
        memory: of a pod, as in 64Gi.
        cpus: of a pod; 0 for no request.
        shared_memory: size of /dev/shm, as in 16Gi, which GPUs of one machine talk through; by default Docker's.
        mounts: persistent volume claims, as CLAIM:PATH.
        grace_s: seconds between SIGTERM and the end of a pod, in which the checkpoint is saved.
    """

    max_restarts: Natural = 20
    image: str = ""
    namespace: str = "default"
    tpu: str = ""
    topology: str = ""
    chips_per_host: Positive = 4
    slices: Positive = 1
    gpu: str = ""
    nodes: Positive = 1
    gpus_per_node: Natural = 0
    array: Natural = 0
    array_parallel: Natural = 0
    queue: str = ""
    priority_class: str = ""
    service_account: str = ""
    spot: bool = False
    reservation: str = ""
    memory: str = ""
    cpus: Natural = 0
    shared_memory: str = ""
    mounts: tuple[str, ...] = ()
    grace_s: Annotated[int, Range(1, 3600)] = 120

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.image:
            raise UserError(
                "image is not set: pods run in a container. docs/guide/containers.md builds one; name it with --image."
            )
        if bool(self.tpu) != bool(self.topology):
            raise UserError("tpu and topology belong together: set both, as tpu-v5-lite-podslice and 4x4, or neither.")
        if self.tpu and (self.gpu or self.gpus_per_node or self.nodes > 1):
            raise UserError("tpu is set, and so is gpu, gpus_per_node or nodes: a machine has one kind. Leave one out.")
        if self.slices > 1 and not self.tpu:
            raise UserError(f"slices is {self.slices}, and only TPUs have slices. Set nodes for as many machines.")
        if bool(self.gpu) != bool(self.gpus_per_node):
            raise UserError("gpu and gpus_per_node belong together: set both, as nvidia-h100-80gb and 8, or neither.")
        if self.array and self.pods > 1:
            raise UserError(
                f"array is {self.array} and a worker would be {self.pods} pods: a study's worker is one. Leave slices and nodes at 1."
            )
        if self.array_parallel and not self.array:
            raise UserError(
                f"array_parallel is {self.array_parallel}, but there is no array. Set array, or leave it out."
            )
        for mount in self.mounts:
            if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?:/.+", mount):
                raise UserError(f"mounts has {mount!r}. Write it as CLAIM:/PATH.")

    @property
    def devices(self) -> int:
        """TPU chips of all slices, or GPUs of all nodes; 0 where neither is asked for."""
        return chips(self.topology) * self.slices if self.tpu else self.nodes * self.gpus_per_node

    @property
    def chips(self) -> Chips:
        """Chips of all pods, by what node pools call them."""
        return Chips(self.chip or gke_kind(self.tpu or self.gpu), self.devices, self.slices)

    @property
    def hosts(self) -> int:
        """Machines of a slice."""
        return chips(self.topology) // self.chips_per_host or 1 if self.tpu else self.nodes

    @property
    def pods(self) -> int:
        """Pods of all slices; each is a process."""
        return self.hosts * self.slices


def chips(topology: str) -> int:
    """Counts the chips of a topology.

    >>> chips("4x4"), chips("2x2x4")
    (16, 16)

    Raises:
        UserError: it is no product of numbers.
    """
    if not re.fullmatch(r"[1-9][0-9]*(x[1-9][0-9]*){1,2}", topology):
        raise UserError(f"topology is {topology!r}; it is two or three numbers, as in 4x4 or 2x2x4.")
    product = 1
    for side in topology.split("x"):
        product *= int(side)
    return product


@dataclasses.dataclass(frozen=True)
class TpuVmLaunch(LaunchConfig):
    """TPU machines by Google Cloud's queued resources.

    Attributes:
        max_restarts: how often exit code 75 or machines that are taken away start the command again.
        zone: such as us-east5-b.
        project: by default gcloud's.
        accelerator_type: such as v5litepod-16.
        runtime_version: such as v2-alpha-tpuv5-lite.
        slices: as many machines of this kind, joined over the data center's network.
        spot: take machines that may be taken away.
        reserved: use the project's reservation.
        service_account: of the machines.
        network: by default the project's.
        setup: lines of shell on each machine before the command, which install flan_jax there.
        keep: leave the machines when the command is done.
    """

    max_restarts: Natural = 20
    zone: str = ""
    project: str = ""
    accelerator_type: str = ""
    runtime_version: str = ""
    slices: Positive = 1
    spot: bool = False
    reserved: bool = False
    service_account: str = ""
    network: str = ""
    setup: tuple[str, ...] = ()
    keep: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("zone", "accelerator_type", "runtime_version"):
            if not getattr(self, name):
                raise UserError(f"{name} is not set, and a queued resource needs it. Set it with --{name}.")
        if self.spot and self.reserved:
            raise UserError("spot and reserved are both set: a machine is of one kind. Leave one out.")

    @property
    def devices(self) -> int:
        """Chips of all slices; 0 where the type is not known."""
        return tpu_chips(self.accelerator_type, self.slices).count

    @property
    def chips(self) -> Chips:
        """Chips of all slices, by their type."""
        found = tpu_chips(self.accelerator_type, self.slices)
        return dataclasses.replace(found, kind=self.chip or found.kind)


@dataclasses.dataclass(frozen=True)
class SkyLaunch(LaunchConfig):
    """A managed job of SkyPilot, which starts it again on exit code 75 and after a preemption as often as it takes.

    Attributes:
        nodes: machines.
        accelerators: of a machine, as in H100:8 or tpu-v5litepod-16.
        infra: cloud, region and zone, as in gcp/us-east5; by default the cheapest.
        spot: take machines that may be taken away.
        cpus: of a machine, as in 32+.
        memory: of a machine in GiB, as in 128+.
        disk_gb: of a machine; 0 for SkyPilot's default.
        image: of a container, as in docker:NAME; by default the cloud's.
        mounts: buckets and folders, as PATH:SOURCE, such as /runs:s3://bucket/runs.
        workdir: folder of this machine that is copied to the others; by default none.
        setup: lines of shell on each machine before the command, which install flan_jax there.
    """

    nodes: Positive = 1
    accelerators: str = ""
    infra: str = ""
    spot: bool = False
    cpus: str = ""
    memory: str = ""
    disk_gb: Natural = 0
    image: str = ""
    mounts: tuple[str, ...] = ()
    workdir: str = ""
    setup: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for mount in self.mounts:
            if not re.fullmatch(r"/[^:]*:.+", mount):
                raise UserError(f"mounts has {mount!r}. Write it as /PATH:SOURCE.")

    @property
    def devices(self) -> int:
        """Accelerators of all machines; 0 where they are not known."""
        return sky_chips(self.accelerators, self.nodes).count

    @property
    def chips(self) -> Chips:
        """Accelerators of all machines, by SkyPilot's names."""
        found = sky_chips(self.accelerators, self.nodes)
        return dataclasses.replace(found, kind=self.chip or found.kind)


TARGETS: dict[str, type[LaunchConfig]] = {
    "local": LocalLaunch,
    "slurm": SlurmLaunch,
    "gke": GkeLaunch,
    "tpu-vm": TpuVmLaunch,
    "skypilot": SkyLaunch,
}
