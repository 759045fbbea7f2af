"""Preparing on a cluster, with Apache Beam. What is stored is the same, byte for byte, as from ``prepare``.

Every task travels with its functions to whichever worker takes it, and the worker writes it to the
store, which must then be a place that all of them reach: a shared folder or a URL. Sources with
files of their own must be reachable there, too.
"""

import functools
import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fsspec

from flan_jax.data.chat.templates import ChatTemplate
from flan_jax.data.prepare import split_job as units
from flan_jax.data.prepare.config import DEFAULT_LENGTHS, OnError, PrepareConfig, TooLong
from flan_jax.data.prepare.pickling import packed, packed_setup, unpacked, unpacked_setup
from flan_jax.data.prepare.prepare import PreparePlan, PrepareProgress, PrepareReport
from flan_jax.data.tokenizers.vocabulary import Vocabulary, set_encoding_threads
from flan_jax.errors import UserError, unknown
from flan_jax.store.store import TokenStore
from flan_jax.tasks.spec import Task

DEFAULT_RUNNER = "DirectRunner"


def prepare_with_beam(
    tasks: Iterable[tuple[Task, Sequence[str]]],
    *,
    store: TokenStore,
    vocabulary: Vocabulary,
    lengths: Mapping[str, int] | None = None,
    seed: int = 0,
    progress: PrepareProgress | None = None,
    on_error: OnError = "fail",
    too_long: TooLong = "truncate",
    separator: str = "",
    chat_template: ChatTemplate | None = None,
    verify: bool = False,
    modules: Sequence[str] = (),
    runner: str = DEFAULT_RUNNER,
    options: Sequence[str] = (),
) -> PrepareReport:
    """Does what ``prepare`` does, each missing split on some worker of a Beam runner.

    Args:
        tasks: as for ``prepare``, like everything down to ``modules``.
        store: reachable, under this path or URL, by every worker.
        vocabulary: as for ``prepare``.
        lengths: as for ``prepare``.
        seed: as for ``prepare``.
        progress: called for what is there already, and for the rest when the pipeline is done.
        on_error: as for ``prepare``.
        too_long: as for ``prepare``.
        separator: as for ``prepare``.
        chat_template: as for ``prepare``.
        verify: as for ``prepare``.
        modules: as for ``prepare``.
        runner: the name of a Beam runner.
        options: pipeline options, ``key=value``, or ``key`` for a flag.

    Raises:
        UserError: as ``prepare``; Beam is not installed, an unknown runner, or an unknown option.
            A split that cannot be prepared does not stop the others.
    """
    pipeline_options = _pipeline_options(runner, options)
    lengths = DEFAULT_LENGTHS if lengths is None else lengths
    recipe = PrepareConfig(vocabulary, lengths, seed, on_error, too_long, separator, chat_template)
    survey = PreparePlan(tasks, recipe, store, verify=verify, progress=progress)
    if survey.to_write:
        _run(survey.to_write, recipe, store, modules, pipeline_options)
    for work in survey.to_write:
        stored = store.open(work.task.name, work.split, work.fingerprint)
        survey.finished(work, units.outcome(stored, None, damaged=work.damaged))
    return survey.report()


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
    works: Sequence[units.SplitJob],
    recipe: PrepareConfig,
    store: TokenStore,
    modules: Sequence[str],
    pipeline_options: Any,
) -> None:
    import apache_beam as beam

    payloads = [packed(work, f"Task {work.task.name!r}") for work in works]
    # Exceptions reach us wrapped by every runner in another way, so what is the user's to correct takes a way of its own.
    refusals = f"{store.url.rstrip('/')}/.refused-{secrets.token_hex(4)}"
    write = functools.partial(_write, setup=packed_setup(recipe, store, modules), refusals=refusals)
    try:
        with beam.Pipeline(options=pipeline_options) as pipeline:
            _ = (
                pipeline
                | "Splits" >> beam.Create(payloads)
                | "Spread" >> beam.Reshuffle()
                | "Prepare" >> beam.Map(write)
            )
    finally:
        messages = _taken(refusals)
    if messages:
        others = (
            f" ({len(messages) - 1} more of {len(works)} splits could not be prepared either.)" if messages[1:] else ""
        )
        raise UserError(messages[0] + others)


def _write(payload: bytes, *, setup: bytes, refusals: str) -> None:
    """What a worker does with one split."""
    try:
        recipe, store = _unpacked_once(setup)
        work = unpacked(payload)
        # A bundle that a runner tries again finds the split there, and whole.
        found = units.find(work, store, verify=work.damaged)
        if isinstance(found, units.SplitJob):
            units.write(found, recipe, store)
    except UserError as error:
        files, path = fsspec.core.url_to_fs(refusals)
        files.makedirs(path, exist_ok=True)
        files.pipe_file(f"{path}/{hashlib.sha256(payload).hexdigest()[:16]}", str(error).encode())


@functools.lru_cache(maxsize=1)
def _unpacked_once(setup: bytes) -> tuple[PrepareConfig, TokenStore]:
    set_encoding_threads(1)
    return unpacked_setup(setup)


def _taken(refusals: str) -> list[str]:
    """What workers refused, sorted; their notes are removed."""
    files, path = fsspec.core.url_to_fs(refusals)
    files.invalidate_cache()
    if not files.exists(path):
        return []
    messages = sorted(content.decode() for content in files.cat(files.find(path)).values())
    files.rm(path, recursive=True)
    return messages
