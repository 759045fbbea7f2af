"""Run a study: many runs that one gin file declares. Run again, the same command goes on where it stopped.

Several processes may run one study at a time, on one machine or on several that share its folder.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flan_jax import signals
from flan_jax.cli.escapes import json_text, visible_line
from flan_jax.cli.gin_arguments import add_gin_arguments
from flan_jax.cli.paths import given_path
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.cli.gin_config import GinStudy
    from flan_jax.studies.claims import Claims
    from flan_jax.studies.describe import PlanRow
    from flan_jax.studies.plan import RunPlan
    from flan_jax.studies.study_dir import StudyDir

EXAMPLE = "flan-jax sweep --gin_file sweeps/mini_weights.gin --study_dir studies/weights --dry_run"
RETRIES = 1
_WEIGHTS = 3
"""So many of a run's weights are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_gin_arguments(parser, required=False)
    parser.add_argument("--study_dir", type=given_path, required=True, metavar="DIR", help="the study's folder")
    parser.add_argument(
        "--dry_run", action="store_true", help="show the runs, their tokens and their cost, and write nothing"
    )
    parser.add_argument(
        "--target", metavar="KIND", help="with --dry_run: plan the runs for such chips, as flan-jax plan does"
    )
    parser.add_argument(
        "--devices", type=int, default=None, metavar="N", help="with --target: devices of each run (default 1)"
    )
    parser.add_argument("--status", action="store_true", help="show the runs of a study as they stand, and run nothing")
    parser.add_argument("--runs", default=None, metavar="3,5-9", help="do these runs only, by their numbers")
    parser.add_argument(
        "--retries",
        type=int,
        default=None,
        metavar="N",
        help=f"how often a run that failed is tried again (default {RETRIES})",
    )
    parser.add_argument(
        "--stalled_after",
        type=float,
        default=None,
        metavar="MINUTES",
        help="end the process with 75, and try again, where no step is logged for so long (default: wait for ever)",
    )
    parser.add_argument(
        "--extend",
        action="store_true",
        help="add runs that the file has now and the study has not, and keep the others",
    )
    parser.add_argument(
        "--runs_per_group",
        type=int,
        default=None,
        metavar="R",
        help="train so many runs of one shape together at most (default: as many as memory holds, on a CPU eight)",
    )
    parser.add_argument(
        "--keep_checkpoints", action="store_true", help="leave every run its last checkpoint, to measure or export it"
    )
    parser.add_argument("--json", action="store_true", help="JSON on standard output: an object a line while it runs")


def execute(arguments: argparse.Namespace) -> int:
    """Runs what is not done of the study, or shows it."""
    from flan_jax.studies.objectives import check_measured, parse_objective

    _check(arguments)
    if arguments.status:
        return _status(arguments)
    loaded = _load(arguments)
    check_measured(parse_objective(loaded.study.objective), loaded.base)
    if arguments.dry_run:
        return _dry_run(arguments, loaded)
    return _sweep(arguments, loaded)


def _check(arguments: argparse.Namespace) -> None:
    """Refuses options that go unread, and numbers that make no sense."""
    doing = ("extend", "retries", "stalled_after", "runs_per_group", "keep_checkpoints")
    unread = {"status": ("dry_run", "gin_file", "gin_bindings", *doing), "dry_run": doing[1:]}
    if arguments.target and not arguments.dry_run:
        raise UserError(
            "--target plans the runs of a study for chips, which --dry_run shows. Add it, or leave --target out."
        )
    if arguments.devices is not None and not arguments.target:
        raise UserError(f"--devices {arguments.devices} are those of a plan. Name their kind with --target.")
    for option, others in unread.items():
        given = [name for name in others if getattr(arguments, name)]
        if getattr(arguments, option) and given:
            name = given[0] if given[0] != "gin_bindings" else f"gin.{arguments.gin_bindings[0].partition('=')[0]}"
            raise UserError(f"--{option} runs nothing, so it does not read --{name}. Leave one of them out.")
    if arguments.retries is not None and arguments.retries < 0:
        raise UserError(f"--retries is {arguments.retries}; it must be at least 0.")
    if arguments.stalled_after is not None and not arguments.stalled_after > 0:
        raise UserError(f"--stalled_after is {arguments.stalled_after:g}; it must be more than 0 minutes.")
    if arguments.runs_per_group is not None and arguments.runs_per_group < 1:
        raise UserError(f"--runs_per_group is {arguments.runs_per_group}; a group has at least 1 run.")


def _load(arguments: argparse.Namespace) -> "GinStudy":
    """The study that the files describe; without any, the one that the folder was begun with."""
    from flan_jax.cli import gin_config
    from flan_jax.launch.processes import check_one_process
    from flan_jax.studies.study_dir import TEXT, open_study

    check_one_process()
    files = list(arguments.gin_file)
    if not files:
        files = [str(open_study(Path(arguments.study_dir)).root / TEXT)]
    paths = [path for path in arguments.gin_search_paths.split(",") if path] + gin_config.environment_search_paths()
    return gin_config.load_study(files, arguments.gin_bindings, paths, study_dir=arguments.study_dir)


def _declared(arguments: argparse.Namespace, loaded: "GinStudy") -> dict[str, Any]:
    """Returns the declaration that the study's folder is to keep, or keeps already, beside the runs."""
    from flan_jax.studies.study_dir import base_as_now, base_identity

    return {
        "description": loaded.study.description(),
        "base": base_identity(loaded.base),
        "extend": arguments.extend,
        "as_now": lambda found: base_as_now(found, loaded.base),
    }


def _sweep(arguments: argparse.Namespace, loaded: "GinStudy") -> int:
    """Begins the study or goes on with it."""
    from flan_jax.cli.console import log
    from flan_jax.studies.claims import Claims
    from flan_jax.studies.expand import expand
    from flan_jax.studies.study_dir import CLAIMS, begin_study, planned

    root = Path(arguments.study_dir)
    plans = expand(loaded.study, loaded.base)
    declared = _declared(arguments, loaded)
    # What can be refused is, before anything is written.
    names = _selected(arguments.runs, planned(root, plans, **declared))
    with Claims(root / CLAIMS, log=log) as claims, claims.holding("study"):
        study = begin_study(root, plans, text=loaded.text, **declared)
    with signals.continues_from(lambda: _stands(study)), Claims(study.claims, log=log) as claims:
        return _run(arguments, loaded, study, claims, names)


def _run(
    arguments: argparse.Namespace, loaded: "GinStudy", study: "StudyDir", claims: "Claims", names: Sequence[str]
) -> int:
    from flan_jax.cli.console import prepare_progress
    from flan_jax.cli.sweep_output import sweep_output
    from flan_jax.studies.database import database_of
    from flan_jax.studies.group_executor import GroupExecutor, log_once
    from flan_jax.studies.objectives import parse_objective
    from flan_jax.studies.runner import sweep
    from flan_jax.train.loop import Preempted

    objective = parse_objective(loaded.study.objective)
    output = sweep_output(study, claims, names, objective, as_json=arguments.json)
    executor = GroupExecutor(
        loaded.base,
        study.root,
        operative=loaded.operative,
        runs_per_group=arguments.runs_per_group or 0,
        keep_checkpoints=arguments.keep_checkpoints,
        prepare_progress=prepare_progress(quiet=arguments.json),
        log=log_once(output.say),
    )

    def store(changed: Sequence[str] | None) -> None:
        for line in database_of(study).update(study, claims, changed):
            output.say(line)

    try:
        result = sweep(
            study,
            executor,
            listener=output,
            selected=names,
            retries=RETRIES if arguments.retries is None else arguments.retries,
            claims=claims,
            store=store,
            stalled_after_s=60 * (arguments.stalled_after or 0.0),
        )
    except (Preempted, signals.Interrupted) as stop:
        output.close()
        words, code = signals.last_words(stop.signum)
        output.say(words)
        return code
    output.close()
    if not arguments.json:
        _say_end(study, result.failed)
    without = [name for name, score in output.scores.items() if score is None]
    if without:
        output.say(
            f"{len(without)} of the {len(output.scores)} runs that are done have no {objective}, such as {without[0]}: no fit "
            "can use them."
        )
    return 1 if result.failed else 0


def _say_end(study: "StudyDir", failed: int) -> None:
    from flan_jax.studies.database import database_of

    left_out = database_of(study).left_out() if failed else {}
    for name, reason in left_out.items():
        print(f"{name}: {visible_line(reason)}")
    if failed:
        print(f"{failed} runs failed and are in no fit. --retries allows more tries.")
    print(f"The study's folder: {visible_line(study.root)}")
    print(f"Its results:        {visible_line(study.database)}")


def _stands(study: "StudyDir") -> str:
    """Says in a sentence from where a sweep that was stopped goes on."""
    from flan_jax.studies.claims import Claims
    from flan_jax.studies.live_table import counted, counts
    from flan_jax.studies.run_states import run_states

    names = [plan.name for plan in study.plans]
    found = counted(counts(run_states(study, Claims(study.claims)), names))
    return f"the study stands at {found} of {len(names)} runs, each with what it saved"


def _selected(text: str | None, plans: "Sequence[RunPlan]") -> list[str]:
    """The names of the runs that ``--runs`` names; of all of them without it."""
    if text is None:
        return [plan.name for plan in plans]
    chosen: dict[int, None] = {}
    for part in (part.strip() for part in text.split(",")):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UserError(f"--runs {text!r}: {part!r} is no number and no range of numbers. Write them as in 3,5-9.")
        begin, end = int(first), int(last or first)
        if end < begin:
            raise UserError(f"--runs {text!r}: the range {part} ends before it begins. Write {end}-{begin}.")
        if end >= len(plans):
            raise UserError(f"--runs {text!r}: there is no run {end}. The study has runs 0 to {len(plans) - 1}.")
        chosen.update(dict.fromkeys(range(begin, end + 1)))
    return [plans[number].name for number in sorted(chosen)]


def _status(arguments: argparse.Namespace) -> int:
    """Shows the runs and who works at them, as the study's folder has them; the database is not asked."""
    from flan_jax.cli.sweep_output import run_json
    from flan_jax.studies.live_table import counted, counts, eta, score_of, table
    from flan_jax.studies.objectives import DEFAULT, parse_objective
    from flan_jax.studies.study_dir import open_study
    from flan_jax.studies.watch.status import study_status, worker_json, worker_line

    study = open_study(Path(arguments.study_dir))
    names = _selected(arguments.runs, study.plans)
    status = study_status(study, names)
    states = status.states
    objective = parse_objective(str(study.description.get("objective") or DEFAULT))
    scores = {name: score_of(study, name, objective) for name in names if states[name].state != "pending"}
    if arguments.json:
        content = {
            "study": str(study.root),
            "objective": str(objective),
            "states": counts(states, names),
            "seconds_left": status.seconds_left,
            "workers": [worker_json(worker) for worker in status.workers],
            "runs": [
                run_json(study, name, states[name], scores.get(name), status.progress.get(name)) for name in names
            ],
        }
        print(json_text(content, indent=1))
        return 0
    print(f"{counted(counts(states, names))} of {len(names)} runs   {objective}   ETA {eta(status.seconds_left)}")
    for line in table(study, states, names, scores=scores, progress=status.progress):
        print(visible_line(line))
    for worker in status.workers:
        print(visible_line(worker_line(worker)))
    return 0


def _dry_run(arguments: argparse.Namespace, loaded: "GinStudy") -> int:
    """Shows what would be run, and what it would cost."""
    from flan_jax.studies.describe import describe, totals
    from flan_jax.studies.expand import expand
    from flan_jax.studies.study_dir import planned

    plans = planned(Path(arguments.study_dir), expand(loaded.study, loaded.base), **_declared(arguments, loaded))
    chosen = set(_selected(arguments.runs, plans))
    rows = describe(
        [plan for plan in plans if plan.name in chosen],
        loaded.base,
        arguments.study_dir,
        tokens_per_second=loaded.study.tokens_per_second,
        progress=_described,
    )
    found = totals(rows)
    planned_runs = _planned(arguments, loaded, [plan for plan in plans if plan.name in chosen])
    if arguments.json:
        content = {"study": loaded.study.name, "runs": [row.as_dict() for row in rows], "totals": found}
        print(json_text({**content, **({"plan": planned_runs} if planned_runs else {})}, indent=1))
        return 0
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for line in _plan_lines(rows):
        print(visible_line(line))
    if planned_runs:
        from flan_jax.cli.planning.checks import study_lines

        for line in study_lines(planned_runs):
            print(visible_line(line))
    print(_totals(found))
    return 0


def _planned(arguments: argparse.Namespace, loaded: "GinStudy", plans: "Sequence[RunPlan]") -> dict[str, Any]:
    """The plan of the chosen runs on the chips that are named; {} where none are."""
    if not arguments.target:
        return {}
    from flan_jax.cli.planning.checks import study_plan
    from flan_jax.studies.expand import run_config

    configs = (run_config(loaded.base, plan, arguments.study_dir) for plan in plans)
    return study_plan(configs, arguments.target, 1 if arguments.devices is None else arguments.devices)


def _described(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{done} runs described", end="", file=sys.stderr, flush=True)


def _plan_lines(rows: "Sequence[PlanRow]") -> list[str]:
    """A line a run: what it reads, and what is its own."""
    cells = [("run", "steps", "tokens", "most repeated", "levels and largest weights")]
    for row in rows:
        task, times = row.most_repeated
        own = [f"{name}={value}" for name, value in row.levels.items()]
        own += ["(again)"] if row.replicate else []
        largest = sorted(row.weights.items(), key=lambda pair: -pair[1])
        own += [f"{unit} {weight:.3f}" for unit, weight in largest[:_WEIGHTS]]
        tokens = f"≤ {row.positions:,}" if row.tokens is None else f"{row.tokens:,}"
        cells.append((row.name, f"{row.steps:,}", tokens, f"{task} × {times:.1f}" if task else "", ", ".join(own)))
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in cells
    ]


def _totals(found: "Mapping[str, Any]") -> str:
    """Sums up all of the runs."""
    from flan_jax.train.hooks import duration

    again = found["runs"] - found["points"]
    said = [f"{found['runs']:,} runs" + (f", {again:,} of them again with another seed" if again else "")]
    if found["tokens"] is not None:
        said.append(f"{found['tokens']:,} tokens of examples in {found['positions']:,} positions")
    else:
        said.append(
            f"at most {found['positions']:,} tokens, padding included (what a run draws is known once its tasks are prepared)"
        )
    if found["seconds"] is not None:
        said.append(f"{duration(found['seconds'])} of training at study.tokens_per_second")
    else:
        said.append("study.tokens_per_second would say how long they train")
    return "; ".join(said) + ". Nothing was written."
