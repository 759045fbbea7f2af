"""Prepares on a cluster, with Apache Beam; the store holds the same bytes as from ``prepare``.

Every task is pickled with its functions for the worker that prepares it, and the worker writes it to the store, which
must be reachable from all of them: a shared folder or a URL. So must the files of sources.
"""

import functools
import hashlib
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import fsspec

from flan_jax.data.prepare import split_job
from flan_jax.data.prepare.config import PrepareConfig
from flan_jax.data.prepare.pickling import dumps, dumps_setup, loads, loads_setup
from flan_jax.data.prepare.prepare import PreparePlan, PrepareProgress, PrepareReport
from flan_jax.data.tokenizers.encoding import set_encoding_threads
from flan_jax.errors import UserError, unknown
from flan_jax.store.store import TokenStore
from flan_jax.tasks.task import Task

DEFAULT_RUNNER = "DirectRunner"


def prepare_with_beam(
    tasks: Iterable[tuple[Task, Sequence[str]]],
    config: PrepareConfig,
    *,
    store: TokenStore,
    progress: PrepareProgress | None = None,
    verify: bool = False,
    modules: Sequence[str] = (),
    runner: str = DEFAULT_RUNNER,
    options: Sequence[str] = (),
) -> PrepareReport:
    """Prepares tasks as ``prepare`` does, each missing split on some worker of a Beam runner.

    Args:
        tasks: as for ``prepare``.
        config: as for ``prepare``.
        store: reachable, under this path or URL, by every worker.
        progress: called for what is there already, and for the rest when the pipeline is done.
        verify: as for ``prepare``.
        modules: as for ``prepare``.
        runner: the name of a Beam runner.
        options: pipeline options, ``key=value``, or ``key`` for a flag.

    Raises:
        UserError: as ``prepare``; Beam is not installed, an unknown runner, or an unknown option.
            A split that cannot be prepared does not stop the others.
    """
    pipeline_options = _pipeline_options(runner, options)
    plan = PreparePlan(tasks, config, store, verify=verify, progress=progress)
    if plan.to_write:
        with store.tidied():
            _run(plan.to_write, config, store, modules, pipeline_options)
    for job in plan.to_write:
        stored = store.open(job.task.name, job.split, job.fingerprint)
        plan.mark_done(job, split_job.read_outcome(stored, None, damaged=job.damaged))
    return plan.report()


def _pipeline_options(runner: str, options: Sequence[str]) -> Any:
    try:
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    except ImportError as error:
        raise UserError("A Beam runner needs Apache Beam. Install it: pip install 'flan-jax[beam]'") from error
    known = [name for name in StandardOptions.KNOWN_RUNNER_NAMES if name != "TestDirectRunner"]
    if runner.lower() not in {name.lower() for name in known} and "." not in runner:
        raise unknown("Beam runner", runner, known)
    flags = [f"--{option.lstrip('-')}" for option in options]
    known_options = PipelineOptions([]).get_all_options()
    for flag in flags:
        key = flag.removeprefix("--").partition("=")[0]
        if key not in known_options and key.removeprefix("no_") not in known_options:
            raise unknown("option of the Beam runner", key, known_options)
    return PipelineOptions([f"--runner={runner}", *flags])


def _run(
    jobs: Sequence[split_job.SplitJob],
    config: PrepareConfig,
    store: TokenStore,
    modules: Sequence[str],
    pipeline_options: Any,
) -> None:
    import apache_beam as beam

    payloads = [dumps(job, f"Task {job.task.name!r}") for job in jobs]
    # Every runner wraps exceptions in another way, so what the user can correct is returned in files.
    refusals = f"{store.url.rstrip('/')}/.refused-{secrets.token_hex(4)}"
    write = functools.partial(_write, setup=dumps_setup(config, store, modules), refusals=refusals)
    try:
        with beam.Pipeline(options=pipeline_options) as pipeline:
            _ = (
                pipeline
                | "Splits" >> beam.Create(payloads)
                | "Spread" >> beam.Reshuffle()
                | "Prepare" >> beam.Map(write)
            )
    finally:
        messages = _collect_refusals(refusals)
    if messages:
        others = (
            f" ({len(messages) - 1} more of {len(jobs)} splits could not be prepared either.)" if messages[1:] else ""
        )
        raise UserError(messages[0] + others)


def _write(payload: bytes, *, setup: bytes, refusals: str) -> None:
    """Prepares one split on a worker; what the user can correct is written to ``refusals``."""
    try:
        config, store = _loads_setup_once(setup)
        job = loads(payload)
        # A bundle that a runner tries again finds the split there, and whole.
        found = split_job.find_prepared(job, store, verify=job.damaged)
        if isinstance(found, split_job.SplitJob):
            split_job.write_split(found, config, store)
    except UserError as error:
        files, path = fsspec.core.url_to_fs(refusals)
        files.makedirs(path, exist_ok=True)
        files.pipe_file(f"{path}/{hashlib.sha256(payload).hexdigest()[:16]}", str(error).encode())


@functools.lru_cache(maxsize=1)
def _loads_setup_once(setup: bytes) -> tuple[PrepareConfig, TokenStore]:
    set_encoding_threads(1)
    return loads_setup(setup)


def _collect_refusals(refusals: str) -> list[str]:
    """Returns the error messages of workers, sorted, and removes their files."""
    files, path = fsspec.core.url_to_fs(refusals)
    files.invalidate_cache()
    if not files.exists(path):
        return []
    messages = sorted(content.decode() for content in files.cat(files.find(path)).values())
    files.rm(path, recursive=True)
    return messages
