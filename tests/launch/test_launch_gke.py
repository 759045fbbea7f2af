"""Manifests: fields and types are those of the published schemas, and exit codes mean what they should."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

from flan_jax.errors import UserError
from flan_jax.launch.gke import gke_submission, manifest
from flan_jax.launch.job import Job
from flan_jax.launch.options import GkeLaunch

SCHEMA = json.loads((Path(__file__).parent / "schemas/jobset.json").read_text(encoding="utf-8"))
IMAGE = {"image": "registry/flan-jax:1"}
GPUS = GkeLaunch(
    **IMAGE, gpu="nvidia-h100-80gb", gpus_per_node=8, nodes=4, queue="lq", priority_class="high", memory="64Gi", cpus=8,
    service_account="trainer", shared_memory="16Gi", mounts=("runs:/runs",), env=("A=$(B)",), spot=True, reservation="r",
)  # fmt: skip
TPUS = GkeLaunch(**IMAGE, tpu="tpu-v5-lite-podslice", topology="4x4", slices=2)
STUDY = GkeLaunch(**IMAGE, array=8, array_parallel=4, queue="lq", mounts=("runs:/runs",))
JOB = Job(("train", "--gin.MODEL_DIR=/runs/a"), "first", Path("runs/a/launches/1-gke"))


def problems(value, schema, place=""):
    """What a structural schema refuses, unknown fields included, which a server would drop in silence."""
    if schema.get("x-kubernetes-int-or-string"):
        return [] if isinstance(value, int | str) else [f"{place}: no number or text"]
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": (int, float)}
    kind = kinds[schema["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return [f"{place}: {value!r} is no {schema['type']}"]
    found = [f"{place}: {value!r} is not in {schema['enum']}" for _ in [0] if value not in schema.get("enum", [value])]
    if isinstance(value, dict) and ("properties" in schema or "additionalProperties" in schema):
        own = schema.get("properties", {})
        found += [f"{place}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, each in value.items():
            inner = own.get(name) or schema.get("additionalProperties")
            found += problems(each, inner, f"{place}.{name}") if inner else [f"{place}.{name} is unknown"]
    if isinstance(value, list):
        for number, each in enumerate(value):
            found += problems(each, schema["items"], f"{place}[{number}]")
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{place}: {value!r} does not match")
    return found


def job_schema():
    """A Job's, which a JobSet's holds as the template of its jobs."""
    whole = copy.deepcopy(SCHEMA["schema"])
    template = whole["properties"]["spec"]["properties"]["replicatedJobs"]["items"]["properties"]["template"]
    whole["properties"]["spec"] = template["properties"]["spec"]
    return whole


@pytest.mark.parametrize("options", [GPUS, TPUS, GkeLaunch(**IMAGE)], ids=["gpus", "tpus", "one"])
def test_a_jobset_is_one(options):
    found = manifest(JOB, options)
    assert (found["apiVersion"], found["kind"]) == (SCHEMA["apiVersion"], SCHEMA["kind"])
    assert problems(found, SCHEMA["schema"]) == []


def test_a_study_is_a_job():
    found = manifest(JOB, STUDY)
    assert (found["apiVersion"], found["kind"]) == ("batch/v1", "Job")
    assert problems(found, job_schema()) == []
    spec = found["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (8, 4, "Indexed")
    assert spec["backoffLimitPerIndex"] == STUDY.max_restarts
    assert spec["podFailurePolicy"]["rules"][0]["action"] == "Ignore"


def test_the_schema_refuses_what_is_wrong():
    broken = manifest(JOB, GPUS)
    spec = broken["spec"]["replicatedJobs"][0]["template"]["spec"]
    spec["paralelism"] = spec.pop("parallelism")
    spec["completions"] = "4"
    spec["completionMode"] = 3
    broken["spec"]["failurePolicy"]["rules"][0]["action"] = "Restart"
    del broken["spec"]["replicatedJobs"][0]["name"]
    place = ".spec.replicatedJobs[0]"
    assert sorted(problems(broken, SCHEMA["schema"])) == [
        ".spec.failurePolicy.rules[0].action: 'Restart' is not in "
        + str(
            [
                "FailJobSet",
                "RestartJobSet",
                "RestartJobSetAndIgnoreMaxRestarts",
                "RestartJob",
                "RestartJobAndIgnoreMaxRestarts",
            ]
        ),
        f"{place}.name is missing",
        f"{place}.template.spec.completionMode: 3 is no string",
        f"{place}.template.spec.completions: '4' is no integer",
        f"{place}.template.spec.paralelism is unknown",
    ]


def test_wrong_input_ends_it_and_all_else_begins_again():
    spec = manifest(JOB, GPUS)["spec"]
    first, other = spec["failurePolicy"]["rules"]
    assert (first["action"], first["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    assert other["action"] == "RestartJobSet"
    job = spec["replicatedJobs"][0]["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2])
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_processes_find_the_first_pod():
    container = manifest(JOB, GPUS)["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][
        0
    ]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert env["JAX_COORDINATOR_ADDRESS"] == "first-workers-0-0.first:8476"
    assert env["JAX_NUM_PROCESSES"] == "4"
    assert env["A"] == "$$(B)"  # Kubernetes would put a variable in the place of $(B)
    assert container["command"] == ["flan-jax", *JOB.command]
    tpu = manifest(JOB, TPUS)["spec"]["replicatedJobs"][0]
    assert tpu["replicas"] == 2
    assert tpu["template"]["spec"]["parallelism"] == 4
    container = tpu["template"]["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "JAX_COORDINATOR_ADDRESS", "value": "auto"}]  # JAX asks the TPU's own metadata


def test_kueue_finds_its_labels():
    for options in (GPUS, STUDY):
        labels = manifest(JOB, options)["metadata"]["labels"]
        assert labels["kueue.x-k8s.io/queue-name"] == "lq"
    assert manifest(JOB, GPUS)["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "high"
    assert "priorityClassName" not in json.dumps(manifest(JOB, GPUS))
    assert "kueue" not in json.dumps(manifest(JOB, TPUS))


def test_what_is_written_is_what_was_built():
    submission = gke_submission(JOB, GPUS)
    assert yaml.safe_load(submission.files["job.yaml"]) == manifest(JOB, GPUS)
    assert submission.command[-2:] == ("--filename", "runs/a/launches/1-gke/job.yaml")


def test_a_name_that_pods_cannot_have_is_refused():
    many = GkeLaunch(**IMAGE, nodes=2**31 - 1)
    with pytest.raises(UserError, match="too long for the names of its pods"):
        manifest(Job(("train",), "a" * 40, Path("x")), many)
