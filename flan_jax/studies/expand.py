"""A study's declaration and its base run → the runs, every one decided by the study's seed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig, plain
from flan_jax.experiments.mixture import run_mixture
from flan_jax.studies.config import StudyConfig
from flan_jax.studies.designs.dirichlet import DIGITS
from flan_jax.studies.factors.base import Level
from flan_jax.studies.factors.nested import crossed
from flan_jax.studies.options import with_run_options
from flan_jax.studies.plan import RunPlan, digest_of
from flan_jax.studies.space import Space, base_space
from flan_jax.tasks.hashing import counter_hash

RUNS, STORE = "runs", "store"
MOST_RUNS = 100_000
_SEEDS = 2**31


def expand(study: StudyConfig, base: RunConfig, *, space: Space | None = None) -> tuple[RunPlan, ...]:
    """Plans the runs of a study, in its order: draw after draw, each with every combination, replicates behind their point.

    Args:
        study: the declaration.
        base: the run that all others are made from.
        space: what the base run trains on, where it is known already.

    Raises:
        UserError: a factor or an option names what is not there, two factors contradict each other, no point is inside the
            bounds, or a run cannot be what its levels say.
    """
    if base.mixing.weights and any(factor.drawn and factor.label == "draw" for factor in study.factors):
        raise UserError(
            "run.weights gives the base run weights, which the factor Dirichlet varies. Leave one of them out."
        )
    space = base_space(base) if space is None else space
    points = _points(study, space)
    planned = [_plan(study, base, space, level) for level in points]
    again = _replicated(study, planned)
    plans: list[RunPlan] = []
    times: dict[str, int] = {}
    for place, plan in enumerate(planned):
        point = digest_of(plan.options)
        # A design may choose a point several times; so often it is to be run, with seeds of their own.
        designed = times.get(point, 0) if study.draws else 0
        first = _replicate(study, base, plan, designed) if designed else plan
        copies = [_replicate(study, base, plan, designed + number) for number in again.get(place, ())]
        times[point] = designed + 1 + len(copies)
        plans += [_numbered(copy, len(plans) + offset) for offset, copy in enumerate([first, *copies])]
    _check_distinct(plans)
    for plan in plans:
        try:
            with_run_options(base, plan.options)
        except UserError as error:
            raise UserError(f"{plan.name} of study {study.name!r} ({_told(plan)}): {error}") from None
    return tuple(plans)


def _points(study: StudyConfig, space: Space) -> list[Level]:
    """Every draw with every combination of levels."""
    levels = [factor.levels(space, study.seed, 0) for factor in study.factors if not factor.drawn]
    runs = max(study.draws, 1) * math.prod(map(len, levels)) + study.replicated * study.replicates
    if runs > MOST_RUNS:
        raise UserError(
            f"Study {study.name!r} would have {runs:,} runs; it may have {MOST_RUNS:,}. Give fewer draws or levels."
        )
    cells = crossed(levels)
    drawn = [factor.levels(space, study.seed, study.draws) for factor in study.factors if factor.drawn]
    draws = [crossed([(one,) for one in together])[0] for together in zip(*drawn, strict=True)] if drawn else [Level()]
    return [draw.beside(cell) for draw in draws for cell in cells]


def _plan(study: StudyConfig, base: RunConfig, space: Space, level: Level) -> RunPlan:
    """A point as a run; its place in the study is not known yet."""
    options = dict(level.options)
    kept, weights = level.kept, dict(level.weights)
    if kept is not None:
        if not kept:
            raise UserError(
                f"The levels {_told(level)} together keep no task to train on. Leave one of the factors out."
            )
        # What the base run keeps or leaves out holds already in the space, whose tasks these are.
        options["keep"] = space.named(kept)
    if level.left_out:
        options["leave_out"] = tuple(dict.fromkeys((*base.mixing.leave_out, *level.left_out)))
    if weights and base.mixing.weights:
        raise UserError("run.weights gives the base run weights, which a factor varies. Leave one of them out.")
    if weights:
        weights = _trained(weights, space, kept, level)
        options["weights"] = weights
    if study.same_templates and options.get("seed", base.seed) != base.seed and "template_seed" not in options:
        options["template_seed"] = _template_seed(base)
    return RunPlan(0, "", dict(plain(level.shown)), weights, options)


def _trained(weights: Mapping[str, float], space: Space, kept: frozenset[str] | None, level: Level) -> dict[str, float]:
    """The weights of units that are trained on at all, divided by their sum."""
    gone = {task for name in level.left_out for task in space.tasks_of(name, "a factor")}
    left = {}
    for unit, share in weights.items():
        tasks = space.tasks_of(unit, "the weights of a factor")
        if (tasks if kept is None else tasks & kept) - gone:
            left[unit] = share
    whole = math.fsum(left.values())
    if not whole:
        raise UserError(
            f"The levels {_told(level)} leave only what has the weight 0 to train on. Raise Dirichlet.lowest, or leave one of "
            "the factors out."
        )
    if len(left) == len(weights):
        return dict(weights)
    return {unit: round(share / whole, DIGITS) for unit, share in left.items()}


def _template_seed(base: RunConfig) -> int:
    return base.seed if base.mixing.template_seed is None else base.mixing.template_seed


def _replicated(study: StudyConfig, planned: Sequence[RunPlan]) -> dict[int, range]:
    """Place of each point that is run again → numbers of its replicates."""
    if study.replicated > len(planned):
        raise UserError(
            f"study.replicated is {study.replicated}, but study {study.name!r} has {len(planned)} points. Give at most that."
        )
    # The first draws, so that more draws leave them what they are; among equals, whom the seed decides.
    cells = len(planned) // max(study.draws, 1)
    order = sorted(
        range(len(planned)),
        key=lambda place: (
            place // cells if study.draws else 0,
            counter_hash(study.seed, "replicated", planned[place].digest()),
        ),
    )
    return {place: range(1, study.replicates + 1) for place in order[: study.replicated]}


def _replicate(study: StudyConfig, base: RunConfig, plan: RunPlan, number: int) -> RunPlan:
    """A point again, with a seed that its own seed and the number decide."""
    own = plan.options.get("seed", base.seed)
    options = {**plan.options, "seed": counter_hash(study.seed, "replicate", own, number) % _SEEDS}
    if study.same_templates and "template_seed" not in options:
        options["template_seed"] = _template_seed(base)
    return RunPlan(0, "", plan.levels, plan.weights, options, number)


def _numbered(plan: RunPlan, index: int) -> RunPlan:
    return RunPlan(index, f"run_{index:04d}", plan.levels, plan.weights, plan.options, plan.replicate)


def _check_distinct(plans: Sequence[RunPlan]) -> None:
    """Refuses two runs that are one: what would look like a result again is none."""
    seen: dict[str, RunPlan] = {}
    for plan in plans:
        options = digest_of(plan.options)
        if options in seen:
            raise UserError(
                f"{seen[options].name} ({_told(seen[options])}) and {plan.name} ({_told(plan)}) would be the same run. Leave "
                "one of the levels out, or vary the seed."
            )
        seen[options] = plan


def _told(plan: RunPlan | Level) -> str:
    levels: Mapping[str, Any] = plan.levels if isinstance(plan, RunPlan) else plan.shown
    return ", ".join(f"{name}={value}" for name, value in levels.items())


def run_config(base: RunConfig, plan: RunPlan, study_dir: Path | str) -> RunConfig:
    """Returns a run of a study: its folder is ``runs/NAME``, its store is the study's unless the base run names one.

    Args:
        base: the study's base run.
        plan: the run.
        study_dir: the study's folder.

    Raises:
        UserError: as ``with_run_options``.
    """
    folder = Path(study_dir)
    config = with_run_options(base, plan.options)
    store = base.data.store or str(folder / STORE)
    return config.with_options(model_dir=str(folder / RUNS / plan.name), store=store)


def check_plan(base: RunConfig, plan: RunPlan) -> None:
    """Checks that the mixture of a run is what its options say; reads no records.

    Raises:
        UserError: a part that is not there, or nothing to train on.
    """
    try:
        run_mixture(with_run_options(base, plan.options))
    except UserError as error:
        raise UserError(f"{plan.name} ({_told(plan)}): {error}") from None


def extended(earlier: Sequence[RunPlan], now: Sequence[RunPlan]) -> tuple[RunPlan, ...]:
    """Returns the runs of a study that was continued: the earlier ones as they were, then what is new.

    Args:
        earlier: the runs as they were planned.
        now: the runs that the study's file plans now.

    Raises:
        UserError: an earlier run is not among them, so that it is another study; the first difference is named.
    """
    by_digest = {plan.digest(): plan for plan in now}
    for plan in earlier:
        if plan.digest() not in by_digest:
            raise UserError(
                f"{plan.name} ({_told(plan)}) is not among the {len(now):,} runs that the study plans now, so this is another "
                "study: give it a folder of its own. A study is extended by more draws, more levels of a factor or more "
                "replicates; a D-optimal design is of its number of draws alone."
            )
    known = {plan.digest() for plan in earlier}
    new = [plan for plan in now if plan.digest() not in known]
    return (*earlier, *(_numbered(plan, len(earlier) + place) for place, plan in enumerate(new)))
