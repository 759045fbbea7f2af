"""List what is registered: tasks with their modes, templates, options, metric and size; then mixtures."""

import argparse
import fnmatch
import itertools
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flan_jax.cli.escapes import json_text, visible
from flan_jax.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from flan_jax.tasks.spec import TaskSpec

EXAMPLE = "flan-jax tasks '*sent*'   or   flan-jax tasks --collection flan2021 --cluster sentiment --json"

WIDTH = 120
_FAMILY = 3
"""So many mixtures whose names begin alike are listed as a family."""
_HEADINGS = ("task", "tmpl", "inv", "cot", "metric", "answers", "modes", "splits", "examples")
_KINDS = {
    "zs": ("zs_opt", "zs_noopt"),
    "fs": ("fs_opt", "fs_noopt"),
    "cot": ("cot_zs_opt", "cot_zs_noopt", "cot_fs_opt", "cot_fs_noopt"),
    "base": ("no_template", "dataset_name"),
}
_SHORT = {"train": "train", "validation": "val", "test": "test"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern or a part of a name; default: all")
    parser.add_argument("--cluster", help="only tasks of this cluster")
    parser.add_argument("--collection", help="only tasks of this collection, such as flan2021")
    parser.add_argument(
        "--long", action="store_true", help="all modes, options, metrics and the source of each task, too"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prints the catalogue."""
    import mixtures  # noqa: F401  (registers what ships)
    from flan_jax.mixing.mixture import MIXTURES
    from flan_jax.tasks.catalog import TASKS

    pattern = arguments.pattern if any(mark in arguments.pattern for mark in "*?[") else f"*{arguments.pattern}*"
    specs = [TASKS.get(name) for name in TASKS]
    _check("cluster", arguments.cluster, {spec.cluster for spec in specs})
    _check("collection", arguments.collection, {spec.collection for spec in specs} - {""})
    chosen = [
        spec
        for spec in specs
        if fnmatch.fnmatchcase(spec.name, pattern)
        and arguments.cluster in (None, spec.cluster)
        and arguments.collection in (None, spec.collection)
    ]
    chosen.sort(key=lambda spec: (spec.collection == "", spec.collection, spec.cluster, spec.name))
    filtered = arguments.cluster is not None or arguments.collection is not None
    names = [] if filtered else [name for name in MIXTURES if fnmatch.fnmatchcase(name, pattern)]
    if not chosen and not names:
        raise UserError(
            f"No task or mixture matches {arguments.pattern!r}"
            f"{' in that cluster or collection' if filtered else ''}."
            f"{did_you_mean(arguments.pattern, [*TASKS, *MIXTURES])}"
        )
    rows = [row(spec) for spec in chosen]
    if arguments.json:
        print(json_text({"tasks": rows, "mixtures": names}, indent=1))
        return 0
    lines = _task_lines(rows, long=arguments.long)
    if names:
        lines += [""] * bool(lines) + [f"{len(names)} mixture{'s' * (len(names) > 1)}"]
        lines += family_lines(names)
    print(visible("\n".join(lines)))
    return 0


def _check(what: str, given: str | None, known: set[str]) -> None:
    if given is not None and given not in known:
        raise UserError(
            f"No task has the {what} {given!r}.{did_you_mean(given, known)} "
            f"{what.capitalize()}s: {', '.join(sorted(known))}."
        )


def row(spec: "TaskSpec") -> dict[str, Any]:
    """Describes a task as ``--json`` prints it; nothing is read."""
    return {
        "name": spec.name,
        "task": spec.name,
        "collection": spec.collection,
        "cluster": spec.cluster,
        "modes": [str(mode) for mode in spec.modes],
        "templates": len(spec.templates),
        "inverted": len(spec.templates) - len(spec.scored_templates),
        "cot_templates": len(spec.cot_templates),
        "metric": spec.metric,
        "other_metrics": list(spec.other_metrics),
        "predict": spec.predict,
        "options": list(spec.options) if not isinstance(spec.options, str) else f"per record ({spec.options})",
        "splits": list(spec.source.splits),
        "source": spec.source.describe(),
        "examples": spec.source.published_count("train"),
    }


def _task_lines(rows: Sequence[dict[str, Any]], *, long: bool) -> list[str]:
    """A table with a heading for every collection and every cluster in it."""
    if not rows:
        return []
    table = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(_HEADINGS))]
    spare = WIDTH - 4 - 2 * (len(widths) - 1) - (sum(widths) - widths[4])
    widths[4] = max(10, min(widths[4], spare))  # of what may be cut, the metrics are the longest
    lines = [_aligned(_HEADINGS, widths)]
    shown = iter(table[1:])
    for collection, of_collection in itertools.groupby(rows, key=lambda row: row["collection"]):
        members = list(of_collection)
        title = collection or "of no collection"
        lines += ["", f"{title}: {len(members)} task{'s' * (len(members) > 1)}"]
        for cluster, of_cluster in itertools.groupby(members, key=lambda row: row["cluster"]):
            lines.append(f"  {cluster}")
            for member in of_cluster:
                lines.append(_aligned(next(shown), widths))
                lines += _details(member) if long else []
    used = {kind for row in rows for kind in _kinds(row["modes"])}
    legend = "; ".join(f"{kind} = {', '.join(modes)}" for kind, modes in _KINDS.items() if kind in used)
    said = "tmpl, inv, cot: templates, those of them that are inverted, and those that reason first."
    return [*lines, "", *textwrap.wrap(f"{said} Modes: {legend}. Examples: the training split as published.", WIDTH)]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    others = f" +{len(row['other_metrics'])}" if row["other_metrics"] else ""
    options = "own" if isinstance(row["options"], str) else str(len(row["options"]) or "")
    return (
        row["name"],
        str(row["templates"]),
        str(row["inverted"] or "–"),
        str(row["cot_templates"] or "–"),
        row["metric"] + others,
        f"{row['predict']} {options}".strip(),
        " ".join(_kinds(row["modes"])),
        " ".join(_SHORT.get(split, split) for split in row["splits"]),
        "–" if row["examples"] is None else f"{row['examples']:,}",
    )


def _kinds(modes: Sequence[str]) -> list[str]:
    return [kind for kind, members in _KINDS.items() if set(members) & set(modes)]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (1, 2, 3, 8)
    parts = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        cell = cell if len(cell) <= width else cell[: width - 1] + "…"
        parts.append(cell.rjust(width) if column in numbers else cell.ljust(width))
    return ("    " + "  ".join(parts)).rstrip()


def _details(row: dict[str, Any]) -> list[str]:
    """Returns what the table has no room for."""
    options = row["options"] if isinstance(row["options"], str) else " | ".join(row["options"])
    found = {
        "modes": ", ".join(row["modes"]),
        "options": options,
        "metrics": ", ".join([row["metric"], *row["other_metrics"]]) if row["other_metrics"] else "",
        "source": row["source"],
    }
    return [line for name, text in found.items() if text for line in _wrapped(f"{name}: {text}", " " * 8)]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def families(names: Iterable[str]) -> dict[str, list[str]]:
    """Groups names by what they begin with: beginning → how they go on, where several begin alike; ``""`` → the other names.

    >>> families(["a_x", "a_y", "a_z_1", "b", "b_1"])
    {'': ['b', 'b_1'], 'a_': ['x', 'y', 'z_1']}
    """
    names = sorted(names)
    begun = Counter(beginning for name in names for beginning in _beginnings(name))
    found: dict[str, list[str]] = {"": []}
    for name in names:
        shared = max((each for each in _beginnings(name) if begun[each] >= _FAMILY), key=len, default="")
        found.setdefault(shared, []).append(name.removeprefix(shared))
    for shared, rest in [*found.items()]:
        if shared and len(rest) == 1:  # the others of its kind are families of their own
            found[""] += [shared + rest[0]]
            del found[shared]
    found[""].sort()
    return {shared: rest for shared, rest in sorted(found.items()) if rest}


def _beginnings(name: str) -> list[str]:
    return [name[: index + 1] for index, character in enumerate(name[:-1]) if character == "_" and index]


def family_lines(names: Iterable[str]) -> list[str]:
    """Lists the names, a family a line or more."""
    lines = []
    for shared, rest in families(names).items():
        text = f"{shared}*: {_run(rest)}" if shared else ", ".join(rest)
        lines += _wrapped(text, "  ")
    return lines


def _run(rest: list[str]) -> str:
    """The names; whole numbers without a gap as a range."""
    if len(rest) > 2 and all(name.isdecimal() for name in rest):
        numbers = sorted(map(int, rest))
        if numbers == list(range(numbers[0], numbers[-1] + 1)):
            return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(rest)
