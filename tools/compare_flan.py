"""Compares what FLAN's own code makes of records with what its imported templates make of them here, string by string.

    python tools/compare_flan.py FLAN
    python tools/compare_flan.py FLAN --templates flan2022_zs_opt --records 20 --source_dir DATA

FLAN is a checkout of google-research/FLAN. Its code is run, by seqio and TensorFlow: name one that you
trust. Records are invented, hard ones for every task; with --source_dir also the first ones of the local
copies that lie there. The exit code is 1 where a string differs.
"""

import argparse
import collections
import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _flan_records import INVENTED, TO_TFDS, invented

import mixtures  # noqa: F401  registers the tasks
from flan_jax.data.sources import published
from flan_jax.data.templates.flan_templates import SETS, import_templates
from flan_jax.data.templates.template_set import TemplateSet, load_template_set, with_templates, write_template_set
from flan_jax.errors import UserError
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.render import Renderer
from flan_jax.tasks.rendering.verbatim import NO_COLUMN
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec

if TYPE_CHECKING:
    from _flan_checkout import Checkout

_SHOWN = 5


@dataclasses.dataclass
class Outcome:
    """What a comparison found.

    Attributes:
        strings: inputs and targets that both sides made, or should have.
        exact: those that are the same.
        differences: (task, kind) → how often.
        examples: a string of each kind, theirs and ours.
        left_out: task → prompts of records that both sides leave out.
        no_column: task → prompts that show a column which this copy of the records has not.
        not_compared: task → why nothing of it was.
    """

    strings: int = 0
    exact: int = 0
    differences: collections.Counter[tuple[str, str]] = dataclasses.field(default_factory=collections.Counter)
    examples: dict[tuple[str, str], tuple[str, str]] = dataclasses.field(default_factory=dict)
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    no_column: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    not_compared: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, task: str, side: str, theirs: str, ours: str) -> None:
        """Counts one string."""
        self.strings += 1
        if theirs == ours:
            self.exact += 1
            return
        kind = f"{side}: {'white space alone' if theirs.split() == ours.split() else 'other words'}"
        self.note(task, kind, theirs, ours, strings=0)

    def note(self, task: str, kind: str, theirs: str, ours: str, strings: int = 2) -> None:
        """Counts strings that differ, or that one side does not have."""
        self.strings += strings
        self.differences[task, kind] += strings or 1
        self.examples.setdefault((task, kind), (theirs, ours))


def compare(checkout: "Checkout", templates: TemplateSet, records: Mapping[str, list[tuple[Any, Any]]]) -> Outcome:
    """Compares every template of every task over its records.

    Args:
        checkout: FLAN's code.
        templates: the imported set.
        records: task → pairs of a record in TFDS's schema and as our source yields it.
    """
    outcome = Outcome()
    for task, patterns in checkout.patterns.items():
        if task not in templates.tasks or task not in records:
            outcome.not_compared[task] = "no templates here" if task in records else "no records"
            continue
        spec = with_templates(TASKS.get(task), templates)
        try:
            processed = list(checkout.processed(task, [theirs for theirs, _ in records[task]]))
        except Exception as error:  # FLAN's code may raise anything
            outcome.not_compared[task] = f"FLAN's code fails: {type(error).__name__}: {str(error).splitlines()[0]:.120}"
            continue
        for features, (_, record) in zip(processed, records[task], strict=True):
            _compare_record(outcome, checkout, spec, patterns, features, record)
    return outcome


def _compare_record(
    outcome: Outcome, checkout: "Checkout", spec: TaskSpec, patterns: Iterable[Any], features: Any, record: Any
) -> None:
    options = SETS[checkout.set_name].options
    plain = PromptMode.ZS_OPT if options else PromptMode.ZS_NOOPT
    mode = PromptMode(f"cot_{plain}") if spec.rationale else plain
    render = Renderer(Prompted(spec, mode))
    for index, pattern in enumerate(patterns):
        try:
            ours = render(record, index=0, template_id=index)
        except UserError as error:
            if NO_COLUMN in str(error):
                outcome.no_column[spec.name] += 1
            elif features is not None:
                theirs = " → ".join(_theirs(checkout, pattern, features))
                outcome.note(spec.name, f"refused here: {_kind_of(str(error))}", theirs, str(error))
            continue
        if ours is None or features is None:
            if ours is None and features is None:
                outcome.left_out[spec.name] += 1
            else:
                outcome.note(spec.name, "left out " + ("here" if ours is None else "there"), "", "")
            continue
        for side, theirs, made in zip(
            ("input", "target"), _theirs(checkout, pattern, features), (ours.inputs, ours.targets), strict=True
        ):
            outcome.add(spec.name, side, theirs, made)


def _theirs(checkout: "Checkout", pattern: Any, features: Any) -> tuple[str, str]:
    try:
        return checkout.rendered(pattern, features)
    except KeyError as error:
        return (f"(no {error})", "")


def _kind_of(message: str) -> str:
    return message.partition(": ")[2].split(".")[0][:80]


def _records(checkout: "Checkout", count: int, source_dir: str) -> dict[str, list[tuple[Any, Any]]]:
    found = {task: [(record, record) for record in invented(task, count)] for task in INVENTED}
    cot = [task for task in checkout.patterns if task.startswith("cot_")]
    found |= {task: [(_line(record), record) for record in invented(task, count)] for task in cot}
    if not source_dir:
        return found
    published.set_source_dir(source_dir)
    for task, adapt in TO_TFDS.items():
        source = TASKS.get(task).source
        if source.local() is None:
            continue
        split = source.splits[0]
        for _, record in zip(range(count), source.records(split), strict=False):
            adapted = {name: value for name, value in adapt(record).items() if value is not None}
            found[task].append((adapted, record))
    return found


def _line(record: Mapping[str, str]) -> str:
    return "\t".join((record["question"], record["answer"], record["rationale"]))


def run(given: argparse.Namespace) -> int:
    """Imports, compares and prints."""
    from _flan_checkout import Checkout  # loads TensorFlow

    folder, output = Path(given.checkout), Path(given.work_dir)
    output.mkdir(parents=True, exist_ok=True)
    total = Outcome()
    for name in given.templates or sorted(SETS):
        checkout = Checkout(folder, name)
        imported = import_templates(folder, name, {task: TASKS.get(task) for task in TASKS})
        path = output / f"{name}.json"
        write_template_set(path, imported.content)
        outcome = compare(checkout, load_template_set(path), _records(checkout, given.records, given.source_dir))
        _print(name, outcome, [f"{task}[{index}]: {why}" for task, index, why in imported.left_out])
        total.strings, total.exact = total.strings + outcome.strings, total.exact + outcome.exact
        if given.json:
            (output / f"{name}.outcome.json").write_text(json.dumps(_plain(outcome), indent=1) + "\n")
    share = total.exact / total.strings if total.strings else 0.0
    print(f"\nin all: {total.exact:,} of {total.strings:,} strings are exact ({share:.2%})")
    return 0 if total.exact == total.strings else 1


def _print(name: str, outcome: Outcome, left_out: list[str]) -> None:
    print(f"\n{name}: {outcome.exact:,} of {outcome.strings:,} strings are exact")
    for (task, kind), count in sorted(outcome.differences.items()):
        theirs, ours = outcome.examples[task, kind]
        print(f"  {task}: {count} × {kind}\n    FLAN: {theirs!r:.300}\n    here: {ours!r:.300}")
    for task, count in sorted(outcome.left_out.items()):
        print(f"  {task}: {count} prompts of records that both leave out")
    for task, count in sorted(outcome.no_column.items()):
        print(f"  {task}: {count} prompts show a column that this copy of the data has not")
    for task, why in sorted(outcome.not_compared.items()):
        print(f"  {task}: not compared: {why}")
    for line in left_out[:_SHOWN]:
        print(f"  not imported: {line}")


def _plain(outcome: Outcome) -> dict[str, Any]:
    differences = {f"{task}: {kind}": count for (task, kind), count in outcome.differences.items()}
    return {"strings": outcome.strings, "exact": outcome.exact, "differences": differences}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("checkout", metavar="CHECKOUT", help="a checkout of google-research/FLAN; its code is run")
    arguments.add_argument("--templates", action="append", choices=sorted(SETS), help="which set; default: all")
    arguments.add_argument("--records", type=int, default=5, help="of each task and source (default 5)")
    arguments.add_argument("--source_dir", default="", help="local copies of published data sets, compared too")
    arguments.add_argument("--work_dir", default="flan_comparison", help="where the imported sets are written")
    arguments.add_argument("--json", action="store_true", help="write counts beside each set")
    try:
        sys.exit(run(arguments.parse_args()))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
