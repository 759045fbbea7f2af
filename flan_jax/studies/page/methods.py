"""The methods section of a study, as text to copy: written from what the study's own files say, and nothing else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.report.run import is_number, mapping
from flan_jax.studies.page.best import Points
from flan_jax.studies.page.results import StudyResults

_LISTED = 12
_MODEL_SIZES = (
    ("d_model", "width"), ("d_ff", "feed-forward width"), ("num_heads", "heads"), ("num_kv_heads", "key and value heads"),
    ("num_encoder_layers", "encoder layers"), ("num_decoder_layers", "decoder layers"), ("num_layers", "layers"),
    ("vocab_size", "vocabulary rows"), ("dropout_rate", "dropout"), ("dtype", "computed in"),
)  # fmt: skip
_OPTIMIZER = ("weight_decay", "clip_norm", "beta1", "beta2", "epsilon", "decay_rate", "final_fraction", "momentum")
_NOT_SAID = "not recorded"


def methods_text(
    results: StudyResults, points: Points, manifest: Mapping[str, Any], law: Mapping[str, Any] | None
) -> str:
    """Writes the section: a paragraph each for the question, runs, model, training, data, evaluation, statistics and cost.

    Args:
        results: of the study.
        points: of its runs.
        manifest: of one of its runs that is done, ``{}`` where none is.
        law: what was fitted.
    """
    base = results.study.base
    paragraphs = (
        ("Question", _question(results)),
        ("Runs", _runs(results)),
        ("Model", _model(results, base)),
        ("Training", _training(base)),
        ("Data", _data(base, manifest)),
        ("Evaluation", _evaluation(results, base, manifest)),
        ("Statistics", _statistics(results, points, law)),
        ("Cost and software", _cost(results, manifest)),
    )
    return "\n\n".join(f"{title}. {' '.join(sentences)}" for title, own in paragraphs if (sentences := list(own)))


def factor_words(results: StudyResults) -> list[str]:
    """Says of each factor of the study's file what it varies."""
    found = []
    for factor in results.study.description.get("factors") or ():
        own = dict(mapping(factor))
        found.append(_told(own))
    return found


def _told(factor: Mapping[str, Any]) -> str:
    kind = str(factor.get("factor", "a factor"))
    inner = [name for name, value in factor.items() if isinstance(value, Mapping) and "factor" in value]
    settings = [
        f"{name} {_value(value)}"
        for name, value in factor.items()
        if name not in ("factor", *inner) and value not in (None, "", [], {}) and not _has_factors(value)
    ]
    words = f"{kind} ({'; '.join(settings)})" if settings else kind
    nested = [_told(mapping(factor[name])) for name in inner]
    for value in factor.values():
        if _has_factors(value) and isinstance(value, Mapping):
            nested += [f"inside {level}: {', '.join(_told(own) for own in mine)}" for level, mine in value.items()]
    return f"{words}, with {'; '.join(nested)}" if nested else words


def _has_factors(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "factor" in value or any(_has_factors(own) for own in value.values())
    return isinstance(value, list) and any(_has_factors(own) for own in value)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _question(results: StudyResults) -> Iterator[str]:
    description, objective = results.study.description, results.objective
    direction = "higher" if objective.higher_is_better else "lower"
    yield f"The study {description.get('name', results.study.root.name)!r} varies: {'; '.join(factor_words(results)) or _NOT_SAID}."
    part = f" of its part {objective.part}" if objective.part else ""
    yield (
        f"Runs are compared by {objective}: the mean of {objective.metric} over the clusters of the suite "
        f"{objective.suite}{part}, each the mean over its tasks ({direction} is better)."
    )


def _runs(results: StudyResults) -> Iterator[str]:
    description, rows = results.study.description, results.runs
    states: dict[str, int] = {}
    for row in rows:
        states[row["state"]] = states.get(row["state"], 0) + 1
    points = len({row["point"] for row in rows})
    yield f"{len(rows)} runs of {points} points: {', '.join(f'{count} {state}' for state, count in states.items())}."
    for row in (row for row in rows if row["state"] in ("failed", "diverged")):
        where = f" at step {row['step']}" if row["step"] is not None else ""
        yield f"{row['run']} {row['state']}{where}: {row['reason'] or f'reason {_NOT_SAID}'}; it is in no mean and no fit."
    if description.get("draws"):
        yield f"Factors with draws were drawn {description['draws']} times."
    if description.get("replicated"):
        yield (
            f"{description['replicated']} points were run {description.get('replicates')} more times each, with other seeds."
        )
    seeds = sorted({own["seed"][0] for own in results.levels.values() if "seed" in own}, key=_number)
    yield (
        f"Seeds of the runs: {_listed(seeds)}."
        if seeds
        else f"Seed of the runs: {results.study.base.get('seed', _NOT_SAID)}, replicates aside."
    )
    yield f"Everything drawn is decided by the study's seed, {description.get('seed', _NOT_SAID)}."
    if description.get("same_templates"):
        yield "All runs draw the templates that the base run draws."


def _number(text: str) -> tuple[float, str]:
    try:
        return (float(text), text)
    except ValueError:
        return (0.0, text)


def _model(results: StudyResults, base: Mapping[str, Any]) -> Iterator[str]:
    model = mapping(base.get("model"))
    kind = "Encoder-decoder (T5)" if "num_encoder_layers" in model else "Decoder"
    sizes = [f"{words} {model[key]}" for key, words in _MODEL_SIZES if key in model]
    parameters = sorted({row["parameters"] for row in results.runs if row["parameters"] is not None})
    counts = (
        f"{_listed([f'{count:,}' for count in parameters])} parameters" if parameters else f"parameters {_NOT_SAID}"
    )
    yield f"{kind}, {counts}{_bracketed(sizes)}."
    start = base.get("initial_checkpoint")
    yield f"Weights start from {start}." if start else "Weights start from the initializer."
    tuning = mapping(base.get("tuning"))
    if tuning and tuning.get("method", "full") not in ("full", "", None):
        yield f"Trained parts: {_value(dict(tuning))}."


def _training(base: Mapping[str, Any]) -> Iterator[str]:
    optimizer, lengths = mapping(base.get("optimizer")), mapping(base.get("lengths"))
    sides = " and ".join(f"{length} tokens of {side}" for side, length in lengths.items()) or f"lengths {_NOT_SAID}"
    packed = ", packed" if base.get("pack") else ", not packed"
    micro = base.get("microbatches")
    parts = f" in {micro} microbatches" if is_number(micro) and micro > 1 else ""
    yield f"{base.get('steps', _NOT_SAID)} steps of {base.get('batch_size', _NOT_SAID)} rows{parts}, each of {sides}{packed}."
    others = [f"{name} {optimizer[name]}" for name in _OPTIMIZER if optimizer.get(name) not in (None, 0, 0.0)]
    yield (
        f"Optimizer {optimizer.get('name', _NOT_SAID)}, learning rate {optimizer.get('learning_rate', _NOT_SAID)}, schedule "
        f"{optimizer.get('schedule', _NOT_SAID)} after {optimizer.get('warmup_steps', 0)} steps of warm-up{_bracketed(others)}."
    )
    if base.get("z_loss"):
        yield f"z-loss {base['z_loss']}."
    if base.get("weighting"):
        yield f"Weights are learned in training: {_value(base['weighting'])}."
    if base.get("stages"):
        yield f"Weights follow stages ({base.get('stage_shape')}): {_value(base['stages'])}."
    if base.get("curriculum_steps"):
        yield f"The first {base['curriculum_steps']} steps draw from the mixture's curriculum."
    yield "What a factor varies stands in the place of these values in its runs."


def _data(base: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    vocabulary = mapping(manifest.get("vocabulary"))
    tasks = mapping(manifest.get("tasks"))
    yield f"Mixture {base.get('mixture', _NOT_SAID)}."
    if vocabulary:
        yield f"Vocabulary {vocabulary.get('name')} of {vocabulary.get('size')} pieces."
    if tasks:
        clusters = {str(mapping(own).get("cluster")) for own in tasks.values()}
        yield f"The first run that is done trains on {_counted(len(tasks), 'prompted task')} of {_counted(len(clusters), 'cluster')}."
    for name, words in (("weights", "weights"), ("keep", "kept"), ("leave_out", "left out"), ("modes", "prompt modes"),
                        ("few_shot_share", "share of few-shot prompts"), ("max_templates", "templates of each prompt"),
                        ("cap", "cap"), ("temperature", "temperature"), ("templates", "templates from")):  # fmt: skip
        if base.get(name) not in (None, "", 0, [], {}, ()):
            yield f"{words[0].upper()}{words[1:]}: {_value(base[name])}."
    if base.get("inversion") is False:
        yield "Inverted templates are left out."
    if base.get("rates") not in (None, "own"):
        yield f"Rates: {base['rates']}."


def _evaluation(results: StudyResults, base: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    evaluation = mapping(base.get("evaluation"))
    held_out = manifest.get("held_out_clusters")
    if isinstance(held_out, list) and held_out:
        yield f"Clusters held out of training: {', '.join(map(str, held_out))}."
    for name, suite in mapping(manifest.get("suites")).items():
        own = mapping(suite)
        tasks = own.get("tasks")
        count = _counted(len(tasks), "task") if isinstance(tasks, list) else f"tasks {_NOT_SAID}"
        held = "held out" if own.get("held_out") else "trained on"
        yield f"Suite {name} ({held}): {count}, split {own.get('split', _NOT_SAID)}."
    most = evaluation.get("max_examples")
    yield f"{f'At most {most} examples' if most else 'All examples'} of each task."
    if "option_score" in evaluation:
        yield f"Options are scored by the {evaluation['option_score']} of their tokens' log-likelihoods."
    if decoding := mapping(evaluation.get("decoding")).get("method"):
        yield f"Texts are decoded by the method {decoding}."
    steps = sorted({row["evaluated_step"] for row in results.done if row["evaluated_step"] is not None})
    if steps:
        yield f"Scores are those after step {_listed([str(step) for step in steps])}."


def _statistics(results: StudyResults, points: Points, law: Mapping[str, Any] | None) -> Iterator[str]:
    yield (
        "Intervals are 95% intervals, Student's. Where the runs of every level of a factor are equal but for their seed, means and "
        "differences use their spread, pooled over the levels; where other factors vary too, a mean's interval is over its "
        "runs, and a difference's over pairs of runs that are equal in all other factors. Neither is corrected for the number "
        "of comparisons."
    )
    if points.noise:
        sd = points.noise.sd
        yield (
            f"Noise: {points.noise.replicates} runs of {points.noise.points} points that were run more than once have a pooled "
            f"standard deviation of {sd.value:.4g} ({sd.low:.4g} to {sd.high:.4g}, {points.freedom} degrees of freedom), which "
            "the interval of the best point uses."
        )
    else:
        yield "No point was run twice, so the noise of a run is not known."
    if law and not law["why"]:
        yield (
            f"Laws of the weights ({', '.join(own['family'] for own in law['families'])}) were compared by repeated "
            f"cross-validation, replicates of a point in one fold, with bootstrap intervals over points; {law['chosen']} has the "
            "least error out of fold."
        )


def _cost(results: StudyResults, manifest: Mapping[str, Any]) -> Iterator[str]:
    rows = results.runs
    tokens, seconds = (sum(row[name] or 0.0 for row in rows) for name in ("tokens", "seconds"))
    yield f"{tokens:,.0f} tokens without padding in {seconds:,.0f} seconds of training, all runs that were begun together."
    hardware = sorted({_hardware(row["hardware"]) for row in rows if row["hardware"]})
    yield f"Hardware: {_listed(hardware) or _NOT_SAID}."
    commits = sorted({row["commit_id"] for row in rows if row["commit_id"]})
    changed = " (with changes)" if mapping(manifest.get("code")).get("changed") else ""
    yield f"Commit: {_listed(commits) or _NOT_SAID}{changed}."
    versions = mapping(manifest.get("versions"))
    yield f"Versions: {', '.join(f'{name} {value}' for name, value in versions.items()) or _NOT_SAID}."


def _hardware(text: str) -> str:
    own = mapping(json.loads(text))
    devices = f"{own.get('devices', '?')} × {own.get('device_kind', own.get('platform', '?'))}"
    return f"{devices}, {own['processor']}, {own.get('cores', '?')} cores" if own.get("processor") else devices


def _bracketed(items: Sequence[str]) -> str:
    return f" ({', '.join(items)})" if items else ""


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return ", ".join(items[:_LISTED]) + more
