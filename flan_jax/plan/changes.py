"""Other ways to lay out a run: the nearest changes that make it fit, and a search with its frontier."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.plan.job import PlanJob
from flan_jax.plan.targets import target_named
from flan_jax.plan.topologies import check_count
from flan_jax.train.sharding import MeshConfig

Plans = Callable[[PlanJob], dict[str, Any]]
"""Makes the plan of a job."""
ENOUGH = 3
"""Changes that fit are looked for until there are so many."""


@dataclasses.dataclass(frozen=True)
class Change:
    """One change of a run.

    Attributes:
        words: as gin has it.
        job: the run with it.
    """

    words: str
    job: PlanJob


def batch_parts(job: PlanJob) -> int:
    """Returns the parts that the rows of a batch are split into."""
    sizes = dict(zip(("data", "fsdp", "tensor"), job.mesh.sizes(job.devices), strict=True))
    parts = 1
    for axis in job.mesh.rules.batch:
        parts *= sizes[axis]
    return parts


def check_batch(job: PlanJob) -> None:
    """Checks that the batch can be split over the mesh and into its microbatches.

    Raises:
        UserError: it cannot; the nearest sizes that can are named.
    """
    unit = batch_parts(job) * job.step.microbatches
    if job.rows % unit:
        low = job.rows // unit * unit
        sizes = " or ".join(str(size) for size in (low, low + unit) if size)
        raise UserError(
            f"A batch of {job.rows} rows (BATCH_SIZE) cannot be split over {batch_parts(job)} devices"
            f"{f' in {job.step.microbatches} microbatches' if job.step.microbatches > 1 else ''}. The nearest sizes: {sizes}."
        )


def candidates(job: PlanJob) -> Iterator[Change]:
    """Yields changes of a run, from those that cost least: what is recomputed, parts of the batch, the mesh, the batch, devices."""
    kinds = [remat for remat in ("dots", "full") if _dearer(job.model.remat, remat)]  # type: ignore[attr-defined]
    remats = [Change(f"remat = {remat!r}", _with_remat(job, remat)) for remat in kinds]
    yield from remats
    parts = [change for count in (2, 4, 8) if (change := _microbatched(job, job.step.microbatches * count))]
    yield from parts
    meshes = [Change(_mesh_words(mesh), _on(job, mesh)) for mesh in _meshes(job)]
    yield from meshes
    last = remats[-1].job if remats else job
    for count in (2, 4, 8):
        if remats and (change := _microbatched(last, job.step.microbatches * count)):
            yield Change(f"{remats[-1].words}, {change.words}", change.job)
    for mesh in _meshes(last):
        if remats:
            yield Change(f"{remats[-1].words}, {_mesh_words(mesh)}", _on(last, mesh))
    for size in (job.rows // 2, job.rows // 4):
        if size and size % (batch_parts(last) * job.step.microbatches) == 0:
            words = [*([remats[-1].words] if remats else []), f"BATCH_SIZE = {size}"]
            yield Change(", ".join(words), dataclasses.replace(last, rows=size))
    for factor in (2, 4):
        yield from _more_devices(job, factor)


def nearest_changes(job: PlanJob, plans: Plans, *, tries: int) -> tuple[list[dict[str, Any]], int]:
    """Looks for changes that make a training step fit, at most `tries` compilations.

    Returns:
        Changes that fit, each with `change`, `peak` and `seconds`, and the number of compilations.
    """
    found: list[dict[str, Any]] = []
    tried = 0
    for change in candidates(job):
        if tried >= tries or len(found) >= ENOUGH:
            break
        tried += 1
        plan = plans(dataclasses.replace(change.job, programs=("train",)))
        if plan["fits"]:
            found.append({"change": change.words, **_figures(plan)})
    return found, tried


def search(job: PlanJob, plans: Plans, *, tries: int) -> dict[str, Any]:
    """Compiles the training step for what is recomputed × parts of the batch × meshes × batch sizes, at most `tries` of them.

    Returns:
        `rows` (each with `change`, `fits`, `peak`, `seconds_per_token`, `frontier`), `tried` and `left`. A row is on the
        frontier where none that fits is better in both bytes and time.
    """
    ways = list(_ways(job))
    rows = []
    for change in ways[:tries]:
        plan = plans(dataclasses.replace(change.job, programs=("train",)))
        rows.append({"change": change.words, "fits": plan["fits"], **_figures(plan)})
    for row in rows:
        row["frontier"] = row["fits"] and not any(_better(other, row) for other in rows if other["fits"])
    return {"rows": rows, "tried": len(rows), "left": len(ways) - len(rows)}


def _better(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    first, second = ((row["peak"], row["seconds_per_token"]) for row in (one, other))
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))


def _ways(job: PlanJob) -> Iterator[Change]:
    """Every combination that the batch can be split in, the run's own first."""
    own: str = job.model.remat  # type: ignore[attr-defined]
    remats = [own, *(remat for remat in ("none", "dots", "full") if remat != own)]
    meshes: Sequence[MeshConfig] = [job.mesh, *_meshes(job)]
    sizes = [job.rows, job.rows * 2, job.rows // 2]
    counts = [job.step.microbatches, *(count for count in (1, 2, 4) if count != job.step.microbatches)]
    for rows, mesh, count, remat in itertools.product(sizes, meshes, counts, remats):
        changed = _with_remat(_on(job, mesh, rows=rows), remat)
        changed = dataclasses.replace(changed, step=dataclasses.replace(job.step, microbatches=count))
        if rows and rows % (batch_parts(changed) * count) == 0:
            words = f"remat = {remat!r}, MICROBATCHES = {count}, {_mesh_words(mesh, job.devices)}, BATCH_SIZE = {rows}"
            yield Change(words, changed)


def _dearer(own: str, other: str) -> bool:
    order = ("none", "dots", "full", "offload")
    return order.index(other) > order.index(own)


def _with_remat(job: PlanJob, remat: str) -> PlanJob:
    return dataclasses.replace(job, model=dataclasses.replace(job.model, remat=remat))  # type: ignore[call-arg]


def _microbatched(job: PlanJob, count: int) -> Change | None:
    if job.rows % (batch_parts(job) * count):
        return None
    step = dataclasses.replace(job.step, microbatches=count)
    return Change(f"MICROBATCHES = {count}", dataclasses.replace(job, step=step))


def _meshes(job: PlanJob) -> list[MeshConfig]:
    """Other meshes of the same devices: parameters over all of a slice, then layers over 2, 4 and 8 of them."""
    own = job.mesh.sizes(job.devices)
    each = job.devices // job.slices
    shapes = [(job.slices, each // tensor, tensor) for tensor in (1, 2, 4, 8) if each % tensor == 0]
    kept = [shape for shape in shapes if shape != own and job.rows % (shape[0] * shape[1]) == 0]
    return [MeshConfig(*shape, rules=job.mesh.rules) for shape in kept]


def _on(job: PlanJob, mesh: MeshConfig, **changes: Any) -> PlanJob:
    return dataclasses.replace(job, mesh=mesh, mesh_reason="", **changes)


def _mesh_words(mesh: MeshConfig, devices: int | None = None) -> str:
    data, fsdp, tensor = (mesh.data, mesh.fsdp, mesh.tensor) if devices is None else mesh.sizes(devices)
    return f"MeshConfig.data = {data}, fsdp = {fsdp}, tensor = {tensor}"


def _more_devices(job: PlanJob, factor: int) -> Iterator[Change]:
    count = job.devices * factor
    try:
        check_count(target_named(job.target), count, job.slices)
    except UserError:
        return
    mesh = MeshConfig(job.slices, count // job.slices, 1, rules=job.mesh.rules)
    if job.rows % count == 0:
        yield Change(f"--devices {count}, {_mesh_words(mesh)}", _on(job, mesh, devices=count))


def _figures(plan: Mapping[str, Any]) -> dict[str, Any]:
    train = plan["programs"]["train"]
    seconds = train.get("seconds", {}).get("bound")
    return {
        "peak": plan["peak"],
        "seconds": seconds,
        "seconds_per_token": None if seconds is None else seconds / plan["batch"]["tokens"],
    }
