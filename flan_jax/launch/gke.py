"""Kubernetes manifests: a JobSet for TPU slices and GPU nodes, an indexed Job for the workers of a study.

Exit code 2, wrong input, fails at once: to start again would change nothing. Any other failure starts all pods again, up
to ``max_restarts`` times, as one process less is none: 75 after a preemption, and what the others end with then.
"""

import re
from typing import Any

import yaml

from flan_jax.errors import UserError
from flan_jax.launch.job import Job, Submission
from flan_jax.launch.options import GkeLaunch
from flan_jax.launch.process_variables import AUTO, COORDINATOR, COUNT, PROCESS_ID

MANIFEST = "job.yaml"
WORKERS = "workers"
_CONTAINER = "flan-jax"
_PORT = 8476
_WRONG_INPUT = 2
_NODE_POOL = "cloud.google.com/gke-nodepool"
_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def gke_submission(job: Job, options: GkeLaunch) -> Submission:
    """Makes the manifest of a job, or of a study's workers, and the command that submits it."""
    path = str(job.folder / MANIFEST)
    kind, label = ("job", "job-name") if options.array else ("jobset", "jobset.sigs.k8s.io/jobset-name")
    state = "{.status.conditions[?(@.status=='True')].type}"
    base = ("kubectl", "--namespace", options.namespace)
    pods = ("--selector", f"{label}={job.name}", "--all-containers", "--prefix", "--max-log-requests", "1000")
    return Submission(
        files={MANIFEST: yaml.safe_dump(manifest(job, options), sort_keys=False, width=120)},
        command=(*base, "create", "--filename", path),
        follow=(*base, "logs", "--follow", *pods),
        show=(*base, "get", kind, job.name, "--output", f"jsonpath={state}"),
    )


def manifest(job: Job, options: GkeLaunch) -> dict[str, Any]:
    """Builds the JobSet, or for an array the Job.

    Raises:
        UserError: a name that pods could not have.
    """
    if options.array:
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": _metadata(job, options),
            "spec": _study(job, options),
        }
    longest = f"{job.name}-{WORKERS}-{options.slices - 1}-{options.hosts - 1}-xxxxx"
    if len(longest) > 63:
        raise UserError(f"name is {job.name!r}, too long for the names of its pods. Set one with --name.")
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": _metadata(job, options),
        "spec": {
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "failurePolicy": {
                "maxRestarts": options.max_restarts,
                "rules": [
                    {"name": "wrongInput", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]},
                    {"name": "anyOther", "action": "RestartJobSet"},
                ],
            },
            "replicatedJobs": [
                {"name": WORKERS, "replicas": options.slices, "template": {"spec": _together(job, options)}}
            ],
        },
    }


def _metadata(job: Job, options: GkeLaunch) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "flan-jax"}
    if options.queue:
        labels["kueue.x-k8s.io/queue-name"] = options.queue
        if options.priority_class:
            labels["kueue.x-k8s.io/priority-class"] = options.priority_class
    found: dict[str, Any] = {"name": job.name, "namespace": options.namespace, "labels": labels}
    if options.tpu and not options.array:  # a slice is a node pool: no other job may take part of it
        found["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": _NODE_POOL}
    return found


def _together(job: Job, options: GkeLaunch) -> dict[str, Any]:
    """The Job of a slice: all pods or none."""
    return {
        "parallelism": options.hosts,
        "completions": options.hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [_on_codes("FailJob", _WRONG_INPUT)]},
        "template": _pod(job, options),
    }


def _study(job: Job, options: GkeLaunch) -> dict[str, Any]:
    """The Job of workers that share a study: each is started again by itself, and a preemption is not counted."""
    return {
        "parallelism": options.array_parallel or options.array,
        "completions": options.array,
        "completionMode": "Indexed",
        "backoffLimitPerIndex": options.max_restarts,
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                _on_codes("FailIndex", _WRONG_INPUT),
            ]
        },
        "template": _pod(job, options),
    }


def _on_codes(action: str, *codes: int) -> dict[str, Any]:
    return {"action": action, "onExitCodes": {"containerName": _CONTAINER, "operator": "In", "values": list(codes)}}


def _pod(job: Job, options: GkeLaunch) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": options.grace_s,
        "containers": [_container(job, options)],
    }
    if selector := _node_selector(options):
        spec["nodeSelector"] = selector
    if options.service_account:
        spec["serviceAccountName"] = options.service_account
    if options.priority_class and not options.queue:
        spec["priorityClassName"] = options.priority_class
    volumes = [
        {"name": f"mount-{n}", "persistentVolumeClaim": {"claimName": claim}} for n, claim, _ in _mounts(options)
    ]
    if options.shared_memory:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": options.shared_memory}})
    if volumes:
        spec["volumes"] = volumes
    return {"metadata": {"labels": {"app.kubernetes.io/name": "flan-jax"}}, "spec": spec}


def _container(job: Job, options: GkeLaunch) -> dict[str, Any]:
    found: dict[str, Any] = {"name": _CONTAINER, "image": options.image, "command": ["flan-jax", *job.command]}
    if env := _environment(job, options):
        found["env"] = env
    if options.pods > 1:
        found["ports"] = [{"containerPort": _PORT, "name": "coordinator"}]
    resources = _resources(options)
    if resources:
        found["resources"] = resources
    mounts = [{"name": f"mount-{n}", "mountPath": path} for n, _, path in _mounts(options)]
    if options.shared_memory:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    if mounts:
        found["volumeMounts"] = mounts
    return found


def _environment(job: Job, options: GkeLaunch) -> list[dict[str, Any]]:
    """Of TPUs Kubernetes itself tells each pod its place; others find the first pod by its name."""
    found: list[dict[str, Any]] = []
    for pair in options.env:
        name, _, value = pair.partition("=")
        found.append({"name": name, "value": value.replace("$", "$$")})
    if options.pods > 1 and options.tpu:
        found.append({"name": COORDINATOR, "value": AUTO})
    elif options.pods > 1:
        address = f"{job.name}-{WORKERS}-0-0.{job.name}:{_PORT}"
        found += [
            {"name": COORDINATOR, "value": address},
            {"name": COUNT, "value": str(options.pods)},
            {"name": PROCESS_ID, "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}},
        ]
    return found


def _resources(options: GkeLaunch) -> dict[str, Any]:
    requests: dict[str, Any] = {}
    if options.cpus:
        requests["cpu"] = str(options.cpus)
    if options.memory:
        requests["memory"] = options.memory
    limits: dict[str, Any] = {}
    if options.tpu:
        limits["google.com/tpu"] = options.chips_per_host
    if options.gpu:
        limits["nvidia.com/gpu"] = options.gpus_per_node
    if options.memory:
        limits["memory"] = options.memory
    return {name: each for name, each in (("requests", requests), ("limits", limits)) if each}


def _node_selector(options: GkeLaunch) -> dict[str, str]:
    found = {}
    if options.tpu:
        found = {
            "cloud.google.com/gke-tpu-accelerator": options.tpu,
            "cloud.google.com/gke-tpu-topology": options.topology,
        }
    if options.gpu:
        found["cloud.google.com/gke-accelerator"] = options.gpu
    if options.spot:
        found["cloud.google.com/gke-spot"] = "true"
    if options.reservation:
        found["cloud.google.com/reservation-name"] = options.reservation
    return found


def _mounts(options: GkeLaunch) -> list[tuple[int, str, str]]:
    return [(number, *re.split(":", mount, maxsplit=1)) for number, mount in enumerate(options.mounts)]  # type: ignore[misc]
