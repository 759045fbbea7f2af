"""A run as the job that its plan compiles."""

from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.mixture import run_mixture
from flan_jax.experiments.run_folder.chosen_mesh import mesh_of
from flan_jax.plan.job import PlanJob, ProgramName
from flan_jax.plan.packages import Compiler
from flan_jax.plan.targets import Target
from flan_jax.train.mesh.mesh_choice import Room


def run_job(
    config: RunConfig,
    target: Target,
    compiler: Compiler,
    devices: int,
    slices: int = 1,
    programs: tuple[ProgramName, ...] = ("train",),
) -> PlanJob:
    """Returns what of a run its plan on such devices depends on; the mesh is chosen where it names none."""
    tasks = {task.name for entry in run_mixture(config).entries for task in entry.drawn_tasks}
    near = devices // slices if target.platform == "tpu" else min(devices, target.host_devices)
    choice = mesh_of(config, Room(devices, near, target.memory))
    return PlanJob(
        model=config.model,
        rows=config.feed.batch_size,
        inputs=config.tokenize.lengths["inputs"],
        targets=config.tokenize.lengths["targets"],
        target=target.name,
        compiler=compiler.name,
        devices=devices,
        slices=slices,
        mesh=choice.mesh,
        mesh_reason=choice.reason,
        optimizer=config.optimizer,
        step=config.step,
        tuning=config.tuning,
        num_tasks=max(1, len(tasks)),
        eval_rows=config.evaluation.batch_size,
        decoding=config.evaluation.decoding,
        programs=programs,
    )
