"""FLAN's published templates as a template set for the tasks here.

    python tools/import_flan.py --flan_dir FLAN --output flan2021.json
    python tools/import_flan.py --flan_dir FLAN --templates flan2022_zs_opt --fix_slips --output flan2022.json

FLAN is a checkout of google-research/FLAN. Its files are parsed and never run.
"""

import argparse
import collections
import subprocess
import sys
from pathlib import Path

import mixtures  # noqa: F401  registers the tasks
from flan_jax.data.templates.flan_templates import (
    NAMES_OPTIONS,
    REPEATED,
    SETS,
    STRAY_N,
    import_templates,
    read_published,
)
from flan_jax.data.templates.template_set import load_template_set, with_templates, write_template_set
from flan_jax.errors import UserError
from flan_jax.tasks.catalog import TASKS

_SHOWN = 12


def commit_of(checkout):
    """The commit of a checkout that is a repository of its own, else ""."""
    if not (checkout / ".git").exists():
        return ""
    asked = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else ""


def run(given):
    checkout = Path(given.flan_dir)
    tasks = {name: TASKS.get(name) for name in TASKS}
    published = read_published(checkout, given.templates)
    imported = import_templates(checkout, given.templates, tasks, fix_slips=given.fix_slips, commit=commit_of(checkout))
    write_template_set(Path(given.output), imported.content)
    loaded = load_template_set(given.output)
    for task in loaded.tasks:
        with_templates(tasks[task], loaded)
    made = imported.content["tasks"]
    print(f"{given.templates}: {len(published)} keys with {sum(map(len, published.values()))} templates")
    print(
        f"{given.output}: {len(made)} tasks with {sum(map(len, made.values()))} templates, "
        f"{sum(template['inverted'] for given in made.values() for template in given)} inverted"
    )
    treatments = {STRAY_N: "fixed", NAMES_OPTIONS: "left out", REPEATED: "left out"} if given.fix_slips else {}
    for kind in sorted({kind for kind, _, _ in imported.slips}):
        places = [f"{key}[{index}]" for found, key, index in imported.slips if found == kind]
        treated = treatments.get(kind, "kept")
        shown = ", ".join(places[:_SHOWN]) + (", …" if len(places) > _SHOWN else "")
        print(f"{treated}: {kind}: {len(places)} templates: {shown}")
    for (task, why), count in sorted(collections.Counter((task, why) for task, _, why in imported.unsupported).items()):
        print(f"left out: {task}: {count} templates: {why}")
    if imported.no_task:
        print(f"no task here: {', '.join(imported.no_task)}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--flan_dir", required=True, metavar="CHECKOUT", help="a checkout of google-research/FLAN")
    arguments.add_argument("--output", required=True, metavar="FILE.json", help="the template set to write")
    arguments.add_argument("--templates", default="flan2021", choices=sorted(SETS), help="which published set")
    slips = arguments.add_mutually_exclusive_group()
    slips.add_argument("--fix_slips", action="store_true", help="put plain slips right")
    slips.add_argument(
        "--keep_slips", dest="fix_slips", action="store_false", help="keep them as published (the default)"
    )
    try:
        run(arguments.parse_args())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
