"""Show a mixture's effective rates: examples, cap, requested rate and share, tokens, epochs over a run.

With --draws and --store, also what the run's sampler will really draw. Published data that are not
on this machine count as many examples as they are published with; --sizes published takes what
FLAN's public code counts of a task in its prompt mode, which its rates rest on, and needs no data.
"""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from flan_jax.cli.escapes import json_text, visible, visible_line
from flan_jax.cli.mixture_arguments import add_mixture_arguments, mixture_of
from flan_jax.cli.paths import any_path, given_name_or_path

if TYPE_CHECKING:
    from flan_jax.mixing.mixture import Mixture

EXAMPLE = "flan-jax rates mini --store store --draws 100000 --sort share"

# Field of a row → heading: what was asked for, then what the sampler gives. --json has all fields.
HEADINGS = {
    "task": "task",
    "collection": "collection",
    "mode": "mode",
    "cluster": "cluster",
    "examples": "examples",
    "cap": "cap",
    "rate": "rate",
    "share": "share",
    "mean_tokens": "tokens each",
    "token_share": "token share",
    "epochs": "epochs",
    "draws": "drawn",
    "realized_share": "share drawn",
    "realized_tokens": "tokens drawn",
    "realized_epochs": "epochs drawn",
}
_WHERE_MANY = ("collection", "mode")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("mixture", type=given_name_or_path, help="a mixture or a task")
    parser.add_argument("--draws", type=int, default=0, help="examples drawn over the run; adds the column of epochs")
    parser.add_argument(
        "--store", type=any_path, default="", help="a prepared store: adds mean tokens and the share of tokens"
    )
    parser.add_argument(
        "--sizes",
        choices=("data", "published"),
        default="data",
        help="what tasks of Flan 2022 count: their data, or what FLAN's public code counts (default data)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the run: which examples it draws, with --draws and --store (default 0)"
    )
    parser.add_argument(
        "--sort",
        choices=("share", "examples", "epochs", "name"),
        help="order of the tasks, the largest first; default: the mixture's own",
    )
    add_mixture_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prints the table."""
    from flan_jax.errors import UserError
    from flan_jax.experiments.mixture import has_outline
    from flan_jax.experiments.rates import mixture_rates
    from flan_jax.report.tables import text_table

    if arguments.draws < 0:
        raise UserError(f"--draws {arguments.draws} must be at least 0.")
    if arguments.sort == "epochs" and not arguments.draws:
        raise UserError("--sort epochs needs the length of the run. Give it with --draws N.")
    try:
        mixture = mixture_of(arguments, arguments.mixture, outlined=arguments.sizes == "published", seed=arguments.seed)
    except UserError as error:
        if arguments.sizes != "published" and has_outline(arguments.mixture):
            raise UserError(
                f"{error} Or take the sizes that FLAN's public code counts, with --sizes published."
            ) from error
        raise
    table = mixture_rates(
        mixture, draws=arguments.draws, store=arguments.store, seed=arguments.seed, sizes_from=arguments.sizes
    )
    if arguments.sort:
        table = table.sorted(arguments.sort)
    rows = [dataclasses.asdict(row) for row in table.rows]
    total, nested = dataclasses.asdict(table.total), [dataclasses.asdict(row) for row in table.nested]
    if arguments.json:
        described = {
            "mixture": mixture.name,
            "unit": mixture.unit,
            "policy": repr(mixture.policy),
            "weights": {unit.name: unit.rate for unit in mixture.unit_rates},
            "draws": arguments.draws or None,
            "seed": arguments.seed,
            "store": arguments.store or None,
            "sizes": table.sizes_from,
            "tasks": rows,
            "total": total,
            "nested": nested,
            "notes": list(table.notes),
        }
        print(json_text(described, indent=1))
        return 0
    # A column that nothing is known of would only be dashes, and these two are told apart only where they differ.
    columns = [
        column
        for column in HEADINGS
        if (
            len({row[column] for row in rows}) > 1
            if column in _WHERE_MANY
            else any(row[column] is not None for row in rows)
        )
    ]
    total["task"] = f"total of {len(rows):,} tasks"
    printed = [[_shown(column, row[column]) for column in columns] for row in (*rows, total)]
    print(
        f"Rates of {visible_line(mixture.name)} in {mixture.unit}, by {_decided_by(mixture)}.\nSizes: {table.sizes_from or 'of no task'}.\n"
    )
    lines = visible(text_table([HEADINGS[column] for column in columns], printed)).split("\n")
    rule = "-" * max(map(len, lines))
    print("\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]]))
    if nested:
        columns = list(nested[0])
        print(
            "\n" + visible(text_table(columns, [[_shown(column, row[column]) for column in columns] for row in nested]))
        )
    for note in table.notes:
        print(f"\nnote: {visible_line(note)}")
    return 0


def _decided_by(mixture: "Mixture") -> str:
    """Says what decides the rates, in a few words."""
    units = mixture.unit_rates
    if not units:
        return repr(mixture.policy)
    some = ", ".join(f"{unit.name} {unit.rate:g}" for unit in units[:_UNITS])
    more = f" and {len(units) - _UNITS:,} more" if len(units) > _UNITS else ""
    return visible_line(f"the weights of {len(units):,} {'part' if len(units) == 1 else 'parts'}: {some}{more}")


_UNITS = 12


def _shown(column: str, value: Any) -> str:
    if value is None or (value == "" and column in _WHERE_MANY):
        return "–"
    if column.endswith("share"):
        return _percent(value)
    if column == "rate":
        return f"{value:,.0f}" if value == round(value) else f"{value:,.3f}" if value >= 0.1 else f"{value:.3g}"
    if isinstance(value, int) or column in ("cap", "realized_tokens"):
        return f"{value:,.0f}"
    if isinstance(value, float):
        return f"{value:,.3f}" if column.endswith("epochs") else f"{value:,.1f}"
    return str(value)


def _percent(share: float) -> str:
    """Two decimals, or two digits where a share is so small that it would read as nothing.

    >>> _percent(0.25), _percent(0.0000123), _percent(0.0)
    ('25.00%', '0.0012%', '0.00%')
    """
    if 0 < share < 0.0005:
        digits = f"{100 * share:.1e}"
        return f"{float(digits):.{1 - int(digits.partition('e')[2])}f}%"
    return f"{share:.2%}"
