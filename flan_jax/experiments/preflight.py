"""Checks of what can be refused before anything is written: places that are not there, a machine that does not fit."""

from collections.abc import Sequence
from pathlib import Path

import jax

from flan_jax.data.prepare.workers import usable_cores
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.mixture import check_folders
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.fetched_run import model_folder
from flan_jax.models.huggingface.families import check_family
from flan_jax.train.optimizer import make_optimizer
from flan_jax.train.reporting.trackers import check_trackers
from flan_jax.train.sharding import make_partitioner
from flan_jax.train.state import trained_axes
from flan_jax.train.step_folders import check_name

_WORKERS_A_CORE = 4


def check_startable(config: RunConfig, devices: Sequence[jax.Device] | None = None) -> None:
    """Checks what training needs of this machine, before the store and the run's folder are touched.

    Args:
        config: the run.
        devices: that it trains on; by default all of every process.

    Raises:
        UserError: a folder of data or of first weights is not there; the mesh, the batch or the workers do not fit;
            checkpoints cannot be kept under MODEL_DIR's name; a pattern of the optimizer matches nothing that is trained.
    """
    check_folders(config.data.data_dir, config.data.source_dir)
    check_name(Path(config.model_dir).expanduser().absolute())
    check_family(config.model)
    check_trackers(config.trackers)
    if config.optimizer.rate_by_pattern or config.optimizer.weight_decay_by_pattern:
        make_optimizer(config.optimizer, trained_axes(config.model, config.tuning))  # refuses what matches nothing
    if config.initial_checkpoint and not run_files.has_checkpoint(Path(config.model_dir)):
        try:
            model_folder(config.initial_checkpoint, weights=False)
        except UserError as error:
            raise UserError(f"INITIAL_CHECKPOINT_PATH: {error}") from None
    limit = _WORKERS_A_CORE * usable_cores()
    if config.feed.data_workers > limit:
        raise UserError(
            f"run.data_workers is {config.feed.data_workers}; it must be at most {limit}, {_WORKERS_A_CORE} for each core that "
            "this process may use. 0 is enough as a rule."
        )
    parts = make_partitioner(config.mesh, devices).batch_parts
    if config.step.microbatches > 1 and config.feed.batch_size % (parts * config.step.microbatches):
        raise UserError(
            f"run.microbatches (MICROBATCHES) is {config.step.microbatches}; each part of a batch is split over {parts} "
            f"devices, so the batch of {config.feed.batch_size} rows (BATCH_SIZE) must be a multiple of "
            f"{parts * config.step.microbatches}. Change one of the two."
        )
    if config.feed.batch_size % parts:
        raise UserError(
            f"run.batch_size (BATCH_SIZE) is {config.feed.batch_size}; the mesh splits a batch over {parts} devices, so it must "
            f"be a multiple of {parts}. Change it, or put fewer devices on MeshConfig.data and MeshConfig.fsdp."
        )
