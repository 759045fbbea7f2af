"""Fit laws to a study's runs, propose mixture weights from the best one, and say what is predicted of them before they run.

The runs are a study's (--study_dir), or anybody's as a table (--table: one row a run, columns of weights and of scores).
Several of either are fitted together; a unit that one of them lacks has weight 0 in its runs. The proposed mixture and its
two controls, the prior and equal shares, are written as gin files beside proposal.json. When they have run, --coverage
sets what was predicted beside what was measured: of a study's run folders, or of a table measured.csv beside proposal.json
(columns run and the objective).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flan_jax.cli.escapes import json_text, visible
from flan_jax.cli.paths import given_path, local_path
from flan_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from flan_jax.studies.fits.choice import FamilyChoice
    from flan_jax.studies.fits.table import RunTable
    from flan_jax.studies.proposals.propose import Proposal

EXAMPLE = (
    "flan-jax propose --study_dir studies/weights   or   flan-jax propose --table runs.csv --weights 'w_*' --objective loss "
    "--better lower --output_dir proposal   or   flan-jax propose --coverage studies/one studies/two"
)
REPEATS = 4.0
"""Passes over a unit's examples that cost little (Muennighoff et al. 2023, arXiv:2305.16264)."""
_NAMED = 6
"""So many of the runs that are left out are named."""
_FROM_TABLE = ("weights", "better", "scores", "clusters")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    of = parser.add_argument_group("the runs")
    of.add_argument("--study_dir", nargs="+", type=given_path, metavar="DIR", help="folders of studies")
    of.add_argument("--table", nargs="+", type=given_path, metavar="FILE", help="CSV files, one row a run")
    of.add_argument("--weights", default="", help="columns of weights, with commas; 'w_*' names all that begin so")
    of.add_argument("--scores", type=given_path, metavar="FILE", help="the CSV file that has the scores, by run")
    of.add_argument("--objective", default="", help="what is predicted: a column, or SUITE/METRIC of a study")
    of.add_argument("--beside", default="", help="another objective, predicted of the same mixtures")
    of.add_argument(
        "--clusters", default="", help="a table's columns of clusters' scores, each of which gets a law of its own"
    )
    of.add_argument("--better", choices=("lower", "higher"), help="the direction of a table's scores")
    of.add_argument(
        "--coverage",
        nargs="+",
        type=given_path,
        metavar="DIR",
        help="set earlier proposals beside what their runs measured",
    )
    how = parser.add_argument_group("the proposal")
    how.add_argument("--families", default="", help="laws to compare, with commas; default: all that can be fitted")
    how.add_argument("--family", default="", help="the law that proposes; default: the best by cross-validation")
    how.add_argument(
        "--method", choices=("best", "regmix"), default="best", help="regmix: mean of the best 128 of 100,000 draws"
    )
    how.add_argument(
        "--kl",
        type=float,
        default=0.1,
        help="pull to the prior, in standard deviations of the runs per nat (default 0.1)",
    )
    how.add_argument("--kl_in_objective", action="store_true", help="--kl is in units of the objective per nat")
    how.add_argument(
        "--prior",
        default="",
        help="shares UNIT=SHARE,…; default: by --tokens, else the study's mixture, else the mean of the runs",
    )
    how.add_argument("--tokens", default="", help="tokens of each unit's examples, UNIT=TOKENS,…")
    how.add_argument("--target_tokens", type=float, help="tokens of the confirming run, for the limit on repeats")
    how.add_argument("--repeats", type=float, help=f"how often it may see an example (default {REPEATS:g})")
    how.add_argument(
        "--output_dir", type=local_path, default="", help="default: proposal in the (first) study's folder"
    )
    how.add_argument("--base_gin", default="", metavar="FILE", help="gin file of the run whose weights are replaced")
    how.add_argument("--seed", type=int, default=0, help="of folds, resamples and draws (default 0)")
    how.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Fits and proposes, or sets earlier proposals beside their runs."""
    _check(arguments)
    if arguments.coverage:
        return _coverage(arguments)
    from flan_jax.cli.console import log
    from flan_jax.cli.proposals.tables import proposal_text
    from flan_jax.mixing.config import parse_names
    from flan_jax.studies.fits.choice import choose
    from flan_jax.studies.proposals.propose import propose
    from flan_jax.studies.proposals.record import proposal_document, write_proposal

    table, objective, beside, clusters = _table(arguments)
    folder, include = _folder(arguments), _include(arguments)
    choice = choose(
        table,
        objective,
        families=parse_names(arguments.families, "--families"),
        seed=arguments.seed,
        progress=lambda name: log(f"fitting {name}, in cross-validation"),
    )
    prior, of_prior = _prior(arguments, choice.table)
    proposal = propose(
        choice,
        prior,
        family=arguments.family,
        method=arguments.method,
        pull=arguments.kl,
        pull_in_objective=arguments.kl_in_objective,
        caps=_caps(arguments, choice.table.units),
        seed=arguments.seed,
    )
    document = {**proposal_document(proposal, choice), "prior": of_prior, "pull_given": arguments.kl}
    document["notes"] = [*_not_done(arguments.study_dir or ()), *document["notes"]]
    document |= _clusters(choice, table, clusters, prior, proposal, arguments.seed)
    document["beside"] = _beside(table, beside, proposal.family, document["mixtures"], arguments.seed) if beside else {}
    paths = (
        write_proposal(document, folder, include=include, runs=folder / "runs" if include else None) if folder else ()
    )
    if arguments.json:
        print(json_text(_for_json(document), indent=1))
    else:
        print(visible(proposal_text(document, [str(path) for path in paths])))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    given = [name for name in ("study_dir", "table", "coverage") if getattr(arguments, name)]
    if len(given) != 1:
        which = f"--{given[0]} and --{given[1]} exclude each other." if given else "No runs are named."
        raise UserError(f"{which} Give --study_dir, --table or --coverage.")
    if arguments.table and not (arguments.weights and arguments.objective and arguments.better):
        missing = next(name for name in ("weights", "objective", "better") if not getattr(arguments, name))
        raise UserError(f"--table needs --{missing}: " + _NEEDED[missing])
    if not arguments.table:
        for name in _FROM_TABLE:
            if getattr(arguments, name):
                raise UserError(f"--{name} is read with --table only. Leave it out.")
    if (arguments.target_tokens is None) != (not arguments.tokens):
        if not arguments.tokens:
            raise UserError(
                "--target_tokens limits repeats by the tokens of each unit. Give --tokens UNIT=TOKENS,… too."
            )
        if arguments.repeats is not None:
            raise UserError("--repeats needs the tokens of the confirming run. Give --target_tokens too.")
    if arguments.repeats is not None and not arguments.tokens:
        raise UserError(
            "--repeats needs the tokens of each unit and of the run. Give --tokens and --target_tokens too."
        )
    if Path(arguments.output_dir or ".").exists() and not Path(arguments.output_dir or ".").is_dir():
        raise UserError(
            f"--output_dir {arguments.output_dir!r} is a file. Name a folder, or one that is not there yet."
        )
    if arguments.base_gin:
        from flan_jax.cli.gin_config import environment_search_paths
        from flan_jax.cli.gin_reader import GinReader

        GinReader(environment_search_paths()).check_found(arguments.base_gin)


_NEEDED = {
    "weights": "name the columns of weights, with commas.",
    "objective": "name the column of scores that is to be predicted.",
    "better": "say if lower or higher scores are better.",
}


def _table(arguments: argparse.Namespace) -> "tuple[RunTable, str, str, list[str]]":
    """Reads the runs.

    Returns:
        Them; the name of the objective; of another one to say beside, or ``""``; those of clusters.
    """
    from flan_jax.studies.fits.table import joined

    if arguments.table:
        from flan_jax.cli.proposals.runs import csv_tables

        tables, clusters = csv_tables(arguments)
        return (joined(tables) if len(tables) > 1 else tables[0]), arguments.objective, arguments.beside, clusters
    from flan_jax.studies.database import open_database
    from flan_jax.studies.objectives import DEFAULT, SCORE, parse_objective

    databases = [open_database(Path(folder)) for folder in arguments.study_dir]
    # A study that is under way is fitted with the runs that it has.
    objective = arguments.objective or next(iter(databases[0].run_table().scores), DEFAULT)
    suite = parse_objective(objective).suite
    beside = arguments.beside
    if not beside and f"{suite}/{SCORE}" != objective and f"{suite}/{SCORE}" in databases[0].objectives():
        beside = f"{suite}/{SCORE}"
    own = [database.cluster_objectives(parse_objective(objective)) for database in databases]
    tables = [
        database.run_table([*filter(None, (objective, beside)), *clusters])
        for database, clusters in zip(databases, own, strict=True)
    ]
    clusters = list(dict.fromkeys(name for found in own for name in found))
    return (joined(tables) if len(tables) > 1 else tables[0]), objective, beside, clusters


def _not_done(study_dirs: Sequence[str]) -> list[str]:
    """Returns a sentence on the runs of each study that are not fitted, by name, and why."""
    from flan_jax.studies.database import open_database

    sentences = []
    for folder in study_dirs:
        left = open_database(Path(folder)).left_out()
        if left:
            named = "; ".join(f"{run} ({why})" for run, why in list(left.items())[:_NAMED])
            more = f"; and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
            sentences.append(f"{len(left)} runs of {folder} are left out of the fits: {named}{more}.")
    return sentences


def _folder(arguments: argparse.Namespace) -> Path | None:
    if arguments.output_dir:
        return Path(arguments.output_dir)
    return Path(arguments.study_dir[0]) / "proposal" if arguments.study_dir else None


def _include(arguments: argparse.Namespace) -> str:
    """Returns the gin file that the three runs include: of the command line, else of a run of the study."""
    if arguments.base_gin:
        return arguments.base_gin
    if not arguments.study_dir:
        return ""
    found = sorted((Path(arguments.study_dir[0]) / "runs").glob("*/config.gin"))
    return str(found[0].absolute()) if found else ""


def _prior(arguments: argparse.Namespace, table: "RunTable") -> "tuple[np.ndarray, str]":
    """Returns the prior over the table's units, and where it comes from."""
    from flan_jax.errors import unknown
    from flan_jax.mixing.config import parse_weights

    given, where = (arguments.prior, "--prior") if arguments.prior else (arguments.tokens, "--tokens")
    if not given:
        own = shares_of_study(Path(arguments.study_dir[0]), table.units) if arguments.study_dir else None
        return (
            (table.weights.mean(axis=0), "the mean of the runs") if own is None else (own, "the mixture's own shares")
        )
    import numpy as np

    shares = parse_weights(given, where)
    for name in shares:
        if name not in table.units:
            raise unknown(f"unit in {where}", name, table.units)
    missing = [unit for unit in table.units if unit not in shares]
    if missing:
        raise UserError(f"{where} says nothing of the unit {missing[0]!r}. Name all {len(table.units)}, or with 0.")
    weights = np.array([shares[unit] for unit in table.units])
    return weights / weights.sum(), where


def shares_of_study(study_dir: Path, units: tuple[str, ...]) -> "np.ndarray | None":
    """Returns the shares that the mixture of a study's base run gives its units; ``None`` where no run says them."""
    import dataclasses
    from typing import get_args

    import numpy as np

    from flan_jax.cli import gin_config
    from flan_jax.cli.console import modules_named
    from flan_jax.mixing.config import MixingConfig
    from flan_jax.studies.space import Over, base_space

    found = sorted((study_dir / "runs").glob("*/config.gin"))
    if not found:
        return None
    folder = str(found[0].parent)
    try:
        with modules_named(folder):
            run = gin_config.load([], [f"run.model_dir={folder!r}"], folder=folder)
        space = base_space(dataclasses.replace(run.config, mixing=MixingConfig()))
        for over in get_args(Over):
            shares = space.shares(over)
            if set(units) <= set(shares):
                own = np.array([shares[unit] for unit in units])
                return own / own.sum()
    except UserError:  # a mixture that counts in tokens, or a module that is not imported: --prior says it then
        return None
    return None


def _caps(arguments: argparse.Namespace, units: tuple[str, ...]) -> "np.ndarray | None":
    if arguments.target_tokens is None:
        return None
    from flan_jax.mixing.config import parse_weights
    from flan_jax.studies.proposals.constraints import repeat_caps

    repeats = REPEATS if arguments.repeats is None else arguments.repeats
    tokens = parse_weights(arguments.tokens, "--tokens")
    return repeat_caps(units, tokens, repeats=repeats, target_tokens=arguments.target_tokens)


def _beside(
    table: "RunTable", objective: str, family: str, mixtures: dict[str, dict[str, float]], seed: int
) -> dict[str, object]:
    """Predicts another objective of the same mixtures, by the same family of laws."""
    import dataclasses

    import numpy as np

    from flan_jax.studies.fits.choice import choose
    from flan_jax.studies.proposals.predictive import predictive
    from flan_jax.studies.proposals.propose import in_direction

    choice = choose(table, objective, families=(family,), seed=seed)
    weights = np.array([list(own.values()) for own in mixtures.values()])
    higher = table.higher_is_better[objective]
    runs = [in_direction(run, higher_is_better=higher) for run in predictive(choice, family, seed=seed).runs(weights)]
    return {
        "objective": objective,
        "spearman": dataclasses.asdict(choice.best.spearman),
        "predictions": {name: dataclasses.asdict(run) for name, run in zip(mixtures, runs, strict=True)},
    }


def _clusters(
    choice: "FamilyChoice", table: "RunTable", clusters: list[str], prior: "np.ndarray", proposal: "Proposal", seed: int
) -> dict[str, object]:
    """Fits a law to each cluster's score and says what the proposed mixture changes there."""
    import dataclasses

    from flan_jax.studies.proposals.clusters import cluster_laws

    laws, notes = cluster_laws(
        choice, table, clusters, prior=prior, family=proposal.family, mixtures=proposal.mixtures, seed=seed
    )
    return {"clusters": [dataclasses.asdict(law) for law in laws], "clusters_without": list(notes)}


def _coverage(arguments: argparse.Namespace) -> int:
    import dataclasses

    from flan_jax.cli.proposals.tables import coverage_text
    from flan_jax.studies.proposals.coverage import confirmed, coverage
    from flan_jax.studies.proposals.measured import measured_scores, proposal_folder
    from flan_jax.studies.proposals.record import read_proposal

    runs = []
    for place in arguments.coverage:
        folder = proposal_folder(Path(place))
        document = read_proposal(folder)
        runs += confirmed(place, document, measured_scores(folder, document))
    counted = coverage(runs)
    if arguments.json:
        described = {
            "runs": [{**dataclasses.asdict(run), "covered": run.covered} for run in runs],
            "covered": None if counted is None else counted[0],
            "measured": None if counted is None else counted[1],
            "share": None if counted is None else dataclasses.asdict(counted[2]),
        }
        print(json_text(described, indent=1))
    else:
        print(visible(coverage_text(runs, counted)))
    return 0


def _for_json(document: dict[str, object]) -> object:
    from flan_jax.studies.proposals.record import without_nan

    return without_nan(document)
