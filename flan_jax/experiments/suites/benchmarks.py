"""Measures published benchmarks with a run's checkpoint or a published model: its own vocabulary, lengths and prompts' ends."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flan_jax.data.prepare.config import input_end_ids
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.eval.predictor import Predictor
from flan_jax.eval.provenance import params_digest
from flan_jax.eval.suites import StepResults
from flan_jax.eval.task_answers import EvalProgress
from flan_jax.experiments import run_dir
from flan_jax.experiments.chat_template import run_prompts, with_stop_ids
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.evaluation.measuring import (
    log_measured_again,
    measure_suites,
    outdated_suites,
    save_results,
)
from flan_jax.experiments.generate import answering_vocabulary
from flan_jax.experiments.mixture import set_folders
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.suites.benchmark_overlap import label_benchmarks
from flan_jax.experiments.suites.benchmark_suite import BenchmarkRequest, BenchmarkSuite, benchmark_suite
from flan_jax.experiments.suites.prompts import PromptReader
from flan_jax.experiments.weights.initial import Weights, load_weights
from flan_jax.report.page import write_report
from flan_jax.train.sharding import make_partitioner

_SHORTEST = 16
"""Tokens of a prompt below which no question fits."""
_LETTER_TOKENS = 8
"""Room behind a prompt whose options are letters."""
_ANY_LENGTH = 8192
"""Tokens of a prompt to a published model that says no limit, as T5."""


@dataclasses.dataclass(frozen=True)
class AnswerLimits:
    """The limits that a user chose of how much is read and written.

    Attributes:
        max_tokens: of the longest answer; 0 for the benchmark's.
        input_length: tokens of the longest prompt; 0 for the run's, or what the model reads.
        batch_size: examples at a time; 0 for the run's.
    """

    max_tokens: int = 0
    input_length: int = 0
    batch_size: int = 0


def evaluate_benchmarks(
    config: RunConfig,
    requests: Sequence[BenchmarkRequest],
    *,
    output_dir: str = "",
    step: int | None = None,
    published: bool = False,
    limits: AnswerLimits = AnswerLimits(),
    progress: EvalProgress | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> StepResults:
    """Measures benchmarks one after the other and writes ``eval/STEP`` and the page, each as soon as it is measured.

    Args:
        config: the run, or what ``run_of_folder`` makes of a published model.
        requests: at least one.
        output_dir: where results go; ``""`` for the run's folder.
        step: of the checkpoint; ``None`` for the newest.
        published: the model is a published one, which reads no end behind a prompt where it goes on itself.
        limits: of tokens.
        progress: told after every batch.
        log: told what is measured again.

    Returns:
        The results of the step, those of earlier measurements among them.

    Raises:
        UserError: as ``benchmark_suite``; no weights; a folder that takes no files.
    """
    _check_names(requests)
    folder = Path(output_dir).expanduser() if output_dir else run_dir.check_same_run(config)
    run_dir.check_writable(folder, "Name another for the results (--output_dir).")
    set_folders(config.data.data_dir, config.data.source_dir)
    vocabulary = answering_vocabulary(config)
    readers = [prompt_reader(config, vocabulary, request, published=published, limits=limits) for request in requests]
    suites = [benchmark_suite(request, reader) for request, reader in zip(requests, readers, strict=True)]
    if not published:
        suites = label_benchmarks(suites, config, log=log)
    weights = load_weights(config, step=step)
    run_dir.create(folder)
    results = None
    for suite, reader in zip(suites, readers, strict=True):
        predictor = make_predictor(config, vocabulary, weights, suite, reader, limits)
        settings = _settings(config, suite, reader, predictor)
        results = _measure(predictor, suite, settings, folder, weights.step, config, progress, log)
    assert results is not None
    write_report([folder], folder / run_files.REPORT)
    return results


def _measure(
    predictor: Predictor,
    suite: BenchmarkSuite,
    settings: dict[str, Any],
    folder: Path,
    step: int,
    config: RunConfig,
    progress: EvalProgress | None,
    log: Callable[[str], None],
) -> StepResults:
    """Measures one benchmark, and writes its results into those of the step; returns all of them."""
    name, digest = suite.request.suite, params_digest(predictor.params)
    tasks = {name: suite.tasks}
    log_measured_again(folder, step, outdated_suites(folder, step, tasks, digest, settings), digest, log)
    measured = measure_suites(
        predictor,
        tasks,
        folder,
        step=step,
        weights=digest,
        settings=settings,
        seed=config.seed,
        option_score=config.evaluation.option_score,
        progress=progress,
        log=log,
    )
    return save_results(folder, measured)


def _check_names(requests: Sequence[BenchmarkRequest]) -> None:
    if not requests:
        raise UserError("No benchmark is named. Name one (--benchmark); `flan-jax eval --list_benchmarks` lists them.")
    names = [request.suite for request in requests]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name} is asked for twice. Name it once.")


def prompt_reader(
    config: RunConfig, vocabulary: Vocabulary, request: BenchmarkRequest, *, published: bool, limits: AnswerLimits
) -> PromptReader:
    """Makes the reader of a benchmark's prompts: as a run's own inputs end, or a published decoder's that go on.

    Raises:
        UserError: no room is left for a question.
    """
    if request.chat:
        config = config.with_options(chat_template=True)
    chat = run_prompts(config, vocabulary)
    ended = chat is None and not (published and config.model.decoder_only)
    end = tuple(input_end_ids(vocabulary, config.tokenize.separator).tolist()) if ended else ()
    own = _ANY_LENGTH if published else config.tokenize.lengths["inputs"] - len(config.model.input_start)
    room = limits.input_length or own
    context = config.model.context_length
    if context is not None:
        answer = _answer_tokens(request, limits)
        most = context - answer - len(config.model.prompt_start) - config.tuning.prompt_tokens
        if limits.input_length > most:
            raise UserError(
                f"--input_length {limits.input_length}: the model reads {context} tokens in all, of which an answer of "
                f"{request.benchmark} may take {answer}. Give at most {max(most, 0)}, or a smaller --max_tokens."
            )
        room = min(room, most)
    if room < _SHORTEST:
        raise UserError(
            f"{request.benchmark}: {max(room, 0)} tokens are left for a prompt, which are too few for a question. Raise "
            "--input_length, or lower --max_tokens."
        )
    return PromptReader(vocabulary, room, end, chat)


def _answer_tokens(request: BenchmarkRequest, limits: AnswerLimits) -> int:
    if request.declared.predict == "rank":
        return _LETTER_TOKENS
    return limits.max_tokens or request.declared.answer_tokens


def make_predictor(
    config: RunConfig,
    vocabulary: Vocabulary,
    weights: Weights,
    suite: BenchmarkSuite,
    reader: PromptReader,
    limits: AnswerLimits,
) -> Predictor:
    """Makes a predictor that answers a benchmark: options without an end behind them, as published, or greedily."""
    declared = suite.request.declared
    options = {option for task in suite.tasks for example in task.examples for option in example.options}
    longest = max((len(reader.answer_ids(option)) for option in options), default=0)
    answer = longest or _answer_tokens(suite.request, limits)
    decoding = GREEDY
    if declared.predict == "generate":
        decoding = with_stop_ids(DecodingConfig(stop=declared.stop, max_length=answer), vocabulary, reader.chat)
    return Predictor(
        weights.graphdef,
        weights.params,
        encode=vocabulary.encode,
        decode=vocabulary.decode,
        batch_size=limits.batch_size or config.evaluation.batch_size,
        target_length=answer,
        vocabulary_size=vocabulary.size,
        decoding=decoding,
        option_ids=reader.answer_ids,
        rows_sharding=make_partitioner(config.mesh).batch(),
    )


def _settings(config: RunConfig, suite: BenchmarkSuite, reader: PromptReader, predictor: Predictor) -> dict[str, Any]:
    """Returns what decides the numbers beside weights and tasks, as JSON values."""
    template = config.tokenize.chat_template or suite.request.chat
    settings = {
        **suite.settings,
        "lengths": {"inputs": reader.room, "targets": predictor.target_length},
        "decoding": dataclasses.asdict(predictor.decoding),
        **({"chat_template": template} if template else {}),
        **({"option_score": config.evaluation.option_score} if config.evaluation.option_score != "sum" else {}),
    }
    return json.loads(json.dumps(settings))
