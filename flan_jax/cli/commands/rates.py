"""Show a mixture's effective rates: examples, cap, requested rate, share, tokens, epochs over a run."""

import argparse
import dataclasses
import json

EXAMPLE = "flan-jax rates mini --draws 100000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("mixture", help="a mixture or a task")
    parser.add_argument("--draws", type=int, default=0, help="examples drawn over the run; adds the column of epochs")
    parser.add_argument("--store", default="", help="a prepared store: adds mean tokens and the share of tokens")
    parser.add_argument("--data_dir", default="", help="folder that sources look below")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prints the table."""
    from flan_jax.data import sources
    from flan_jax.errors import UserError
    from flan_jax.experiments.rates import mixture_rates
    from flan_jax.experiments.setup import resolve_mixture
    from flan_jax.report.tables import text_table

    if arguments.draws < 0:
        raise UserError(f"--draws {arguments.draws} must be at least 0.")
    if arguments.data_dir:
        sources.set_data_dir(arguments.data_dir)
    mixture = resolve_mixture(arguments.mixture)
    rows = [dataclasses.asdict(row) for row in mixture_rates(mixture, draws=arguments.draws, store=arguments.store)]
    if arguments.json:
        print(json.dumps({"mixture": mixture.name, "tasks": rows}, indent=1))
        return 0
    # A column that nothing is known of would only be dashes.
    columns = [column for column in rows[0] if any(row[column] is not None for row in rows)]
    print(text_table(columns, [[_shown(column, row[column]) for column in columns] for row in rows]))
    return 0


def _shown(column: str, value: object) -> str:
    if value is None:
        return "–"
    if column in ("share", "token_share"):
        return f"{value:.2%}"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
