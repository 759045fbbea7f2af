"""Start a command of flan-jax on many processes: on this machine, on Slurm, Kubernetes, TPU machines or a cloud.

What stands behind -- is the command. Each target starts it again where it ends with exit code 75, which says that it
was stopped and goes on from a checkpoint. A launch writes what it submitted into launches/ of the run's folder.
"""

import argparse
import dataclasses
import re
import sys
import textwrap
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flan_jax.cli.escapes import visible_line
from flan_jax.cli.gin_arguments import add_gin_arguments
from flan_jax.errors import UserError
from flan_jax.launch.job import Job, Submission, scheduler_name, text_of
from flan_jax.launch.options import TARGETS, LaunchConfig, LocalLaunch

if typing.TYPE_CHECKING:
    from flan_jax.experiments.config import RunConfig

EXAMPLE = (
    "flan-jax launch slurm --nodes 4 --gpus_per_node 8 --time_limit 24:00:00 --dry_run -- train --gin_file models/t5_mini.gin "
    "--gin_file runs/finetune.gin --gin.MIXTURE_OR_TASK_NAME=mini --gin.TRAIN_STEPS=100 --gin.MODEL_DIR=runs/first"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options: its own, and the fields of every target's dataclass."""
    parser.add_argument("target", choices=sorted(TARGETS), metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument(
        "--dry_run", action="store_true", help="print exactly what would be submitted, and write nothing"
    )
    parser.add_argument("--follow", action="store_true", help="show the logs, and end as the command ends")
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="do not resolve the gin files of the command first, where they are on the other machines only",
    )
    parser.add_argument(
        "--plan",
        choices=("auto", "simulate", "off"),
        default="auto",
        help="of train: compile its step for the chips, and refuse what does not fit. auto does where their compiler is "
        "installed, simulate takes CPU devices in its place (default auto)",
    )
    add_gin_arguments(parser, required=False)
    group = parser.add_argument_group(
        "resources", "flags stand above what gin files say; --gin.SlurmLaunch.nodes=4 works too"
    )
    for name, words in _flags().items():
        wide = textwrap.shorten("; ".join(words), 400)
        kinds = [typing.get_type_hints(kind)[name] for kind in TARGETS.values() if name in typing.get_type_hints(kind)]
        settings: dict[str, Any] = {"default": None, "help": wide, "dest": f"option_{name}"}
        if kinds[0] is bool:
            settings["action"] = "store_true"
        else:
            settings["metavar"] = name.upper()
            if typing.get_origin(kinds[0]) is tuple:
                settings |= {"action": "append", "help": f"{wide}; repeatable"}
        group.add_argument(f"--{name}", **settings)


def _flags() -> dict[str, list[str]]:
    """The fields of all targets: what each means for whom."""
    found: dict[str, list[str]] = {}
    for target, kind in TARGETS.items():
        described = _described(kind)
        for name in typing.get_type_hints(kind):
            words = found.setdefault(name, [])
            meaning = described[name].rstrip(".")
            same = next((place for place, word in enumerate(words) if word.endswith(f": {meaning}")), None)
            if same is None:
                words.append(f"{target}: {meaning}")
            else:
                words[same] = f"{words[same].partition(':')[0]}, {target}: {meaning}"
    return found


def _described(kind: type[LaunchConfig]) -> dict[str, str]:
    """Reads each field's meaning from the docstrings of a dataclass and of its base."""
    texts = [each.__doc__ or "" for each in (LaunchConfig, kind)]
    return {name: text for doc in texts for name, text in re.findall(r"^        (\w+): (.+)$", doc, re.MULTILINE)}


def execute(arguments: argparse.Namespace) -> int:
    """Looks into the command, writes what the target needs, submits it, and follows it where that is asked."""
    from flan_jax.cli.launching.launched_command import look_into
    from flan_jax.launch.record import next_folder

    options = _options(arguments)
    command = look_into(arguments.launched, unchecked=arguments.unchecked)
    if getattr(options, "array", 0) and command.name != "sweep":
        raise UserError(
            f"array is for the workers of a study, and {command.name} is one run: all would write into one folder. Launch sweep, "
            "or leave it out."
        )
    if command.run is not None:
        _plan(command.run.config, options, arguments.plan)
    local = isinstance(options, LocalLaunch)
    job = Job(
        command=command.words,
        name=options.name
        or scheduler_name(str(command.folder.resolve()) if command.folder != Path() else command.name),
        folder=next_folder(command.folder, arguments.target),
        program=_program(local),
        working_dir=Path(),
    )
    if isinstance(options, LocalLaunch):
        return _local(job, options, arguments)
    return _submitted(job, options, arguments)


def _plan(config: "RunConfig", options: LaunchConfig, mode: Any) -> None:
    """Compares a run with the devices that it asks for; what the plan says goes to standard error.

    Raises:
        UserError: the mesh does not fit the devices, or the run their memory.
    """
    if options.devices:
        config.mesh.sizes(options.devices)
    if mode == "off":
        return
    if options.chips.count and options.chips.kind:
        print(f"planning for {options.chips.count} × {options.chips.kind} (--plan off leaves it out)", file=sys.stderr)
    from flan_jax.cli.planning.checks import launch_lines

    for line in launch_lines(config, options.chips, mode, dropped="--plan off"):
        print(visible_line(line), file=sys.stderr)


def _options(arguments: argparse.Namespace) -> LaunchConfig:
    """The target's options: what gin files say, then flags.

    Raises:
        UserError: a flag of another target, or a value that it does not take.
    """
    kind = TARGETS[arguments.target]
    names = {field.name for field in dataclasses.fields(kind)}
    flags: dict[str, Any] = {
        name.removeprefix("option_"): tuple(value) if isinstance(value, list) else value
        for name, value in vars(arguments).items()
        if name.startswith("option_") and value is not None
    }
    for name in flags:
        if name not in names:
            others = ", ".join(target for target, other in TARGETS.items() if name in _described(other))
            raise UserError(f"launch {arguments.target} does not read --{name}, which is for {others}. Leave it out.")
        if typing.get_type_hints(kind)[name] is int:
            if not re.fullmatch(r"-?\d+", flags[name]):
                raise UserError(f"--{name} is {flags[name]!r}; it must be a whole number.")
            flags[name] = int(flags[name])
    bound: dict[str, Any] = {}
    if arguments.gin_file or arguments.gin_bindings:
        from flan_jax.cli import gin_config
        from flan_jax.cli.launching.gin_options import bound_options

        paths = [path for path in arguments.gin_search_paths.split(",") if path] + gin_config.environment_search_paths()
        bound = bound_options(kind, arguments.gin_file, arguments.gin_bindings, paths)
    return kind(**{**bound, **flags})


def _program(local: bool) -> tuple[str, ...]:
    """The words that start flan-jax: this interpreter's, also for machines that share its folder."""
    from flan_jax.launch.local import this_program

    script = Path(sys.executable).with_name("flan-jax")
    return tuple(this_program()) if local or not script.is_file() else (str(script),)


def _submission(target: str, job: Job, options: Any) -> Submission:
    from flan_jax.launch.gke import gke_submission
    from flan_jax.launch.skypilot import sky_submission
    from flan_jax.launch.slurm import slurm_submission
    from flan_jax.launch.tpu_vm import tpu_vm_submission

    makers: dict[str, Callable[[Job, Any], Submission]] = {
        "slurm": slurm_submission,
        "gke": gke_submission,
        "tpu-vm": tpu_vm_submission,
        "skypilot": sky_submission,
    }
    return makers[target](job, options)


def _local(job: Job, options: LocalLaunch, arguments: argparse.Namespace) -> int:
    from flan_jax.launch.local import local_text, run_local
    from flan_jax.launch.record import write_record

    text = local_text(job, options)
    if arguments.dry_run:
        print(text, end="")
        return 0
    submission = Submission(files={}, command=(*job.program, *job.command))
    write_record(job, arguments.target, options, submission, "")

    def show(number: int, line: str) -> None:
        if arguments.follow and options.processes > 1:
            print(f"[{number}] {visible_line(line)}", flush=True)
        elif number == 0:
            print(visible_line(line), flush=True)

    code = run_local(job, options, show)
    print(f"The launch's folder: {visible_line(job.folder)}", file=sys.stderr)
    return code


def _submitted(job: Job, options: LaunchConfig, arguments: argparse.Namespace) -> int:
    from flan_jax.launch.record import taken_back, write_files, write_record
    from flan_jax.launch.submit import check_partition, check_tools, follow, submit

    submission = _submission(arguments.target, job, options)
    if arguments.dry_run:
        print(text_of(submission, job.folder), end="")
        return 0
    check_tools(arguments.target, submission)
    check_partition(options)
    with taken_back(job.folder):
        write_files(job.folder, submission)
        identity = submit(submission, job.folder)
    write_record(job, arguments.target, options, submission, identity)
    print(f"submitted as {visible_line(identity)}; the launch's folder: {visible_line(job.folder)}", flush=True)
    if not arguments.follow:
        return 0
    return follow(job, arguments.target, submission, identity, lambda line: print(visible_line(line), flush=True))
