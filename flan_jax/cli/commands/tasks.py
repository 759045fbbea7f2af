"""List what is registered: tasks with cluster, templates, options, metric and source; then mixtures."""

import argparse
import fnmatch
import json

from flan_jax.errors import UserError, did_you_mean

EXAMPLE = "flan-jax tasks '*sent*'   or   flan-jax tasks --cluster sentiment --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern or a part of a name; default: all")
    parser.add_argument("--cluster", help="only tasks of this cluster")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prints the catalogue."""
    import mixtures  # noqa: F401  (registers what ships)
    from flan_jax.mixing.mixture import MIXTURES
    from flan_jax.tasks.catalog import TASKS

    pattern = arguments.pattern if any(mark in arguments.pattern for mark in "*?[") else f"*{arguments.pattern}*"
    specs = [TASKS.get(name) for name in TASKS]
    clusters = {spec.cluster for spec in specs}
    if arguments.cluster and arguments.cluster not in clusters:
        raise UserError(
            f"No task has the cluster {arguments.cluster!r}.{did_you_mean(arguments.cluster, clusters)} "
            f"Clusters: {', '.join(sorted(clusters))}."
        )
    chosen = [
        spec for spec in specs if fnmatch.fnmatch(spec.name, pattern) and arguments.cluster in (None, spec.cluster)
    ]
    names = [name for name in MIXTURES if fnmatch.fnmatch(name, pattern)] if not arguments.cluster else []
    if not chosen and not names:
        raise UserError(
            f"No task or mixture matches {arguments.pattern!r}.{did_you_mean(arguments.pattern, [*TASKS, *MIXTURES])}"
        )
    rows = [
        {
            "task": spec.name,
            "cluster": spec.cluster,
            "templates": len(spec.templates),
            "inverted": len(spec.templates) - len(spec.scored_templates),
            "options": list(spec.options) if not isinstance(spec.options, str) else f"per record ({spec.options})",
            "metric": spec.metric,
            "predict": spec.predict,
            "splits": list(spec.source.splits),
            "source": spec.source.describe(),
        }
        for spec in sorted(chosen, key=lambda spec: (spec.cluster, spec.name))
    ]
    if arguments.json:
        print(json.dumps({"tasks": rows, "mixtures": names}, indent=1, ensure_ascii=False))
        return 0
    width = max((len(str(row["task"])) for row in rows), default=0)
    cluster_width = max((len(str(row["cluster"])) for row in rows), default=0)
    for row in rows:
        options = ", ".join(row["options"]) if isinstance(row["options"], list) else row["options"]
        print(
            f"{row['task']:<{width}}  {row['cluster']:<{cluster_width}}  {row['templates']:>2} templates  "
            f"{row['metric']:<11}  {options or 'free text'}"
        )
    if names:
        print(f"\nMixtures: {', '.join(names)}" if rows else f"Mixtures: {', '.join(names)}")
    return 0
