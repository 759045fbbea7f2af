"""Regret of proposals on surfaces with a known optimum as runs grow, coverage of their intervals, and seconds of a fit.

Regret is (loss of the proposal - lowest loss) / (loss of the prior - lowest loss): 0 is the optimum, 1 no better than the
prior. Losses are without noise; what is fitted has noise of a tenth of the surface's spread. The 95% intervals of single
runs are held against new runs, noise included.

    python tools/bench/studies/bench_fits.py --json docs/benchmarks/fits.json
    python tools/bench/studies/bench_fits.py --sections chosen --json docs/benchmarks/fits_chosen.json
    python tools/bench/studies/bench_fits.py --regmix DATA --json docs/benchmarks/fits_regmix.json

The second measures what cross-validation chooses alone, with its intervals. The third reads the folder `data` of RegMix's repository, 512 runs of 17 sources and 256 others to test with.
"""

import argparse
import datetime
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _bench_surfaces import KINDS, UNITS, Surface, surface
from scipy import stats

from flan_jax.studies.designs.d_optimal import d_optimal
from flan_jax.studies.fits.boosted_trees import BoostedTrees
from flan_jax.studies.fits.choice import choose
from flan_jax.studies.fits.cross_validation import spearman
from flan_jax.studies.fits.families import FAMILIES
from flan_jax.studies.fits.family import Fitted
from flan_jax.studies.fits.table import RunTable
from flan_jax.studies.fits.table_file import columns_of, read_table
from flan_jax.studies.proposals.constraints import Limits
from flan_jax.studies.proposals.propose import EQUAL, PROPOSED, PULL, propose
from flan_jax.studies.proposals.search import by_draws, by_gradient

sys.path.append(str(Path(__file__).parents[1]))
from _bench_machine import machine, versions

NOISE = 0.1
DESIGNED = (16, 32)
PRIOR = np.full(UNITS, 1 / UNITS)
SOURCES = 17


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=("regret", "chosen"), default=["regret", "chosen"])
    parser.add_argument("--surfaces", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--runs", type=int, nargs="+", default=[16, 32, 64, 128, 512])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pulls", type=float, nargs="+", default=[0.0, PULL], help="λ, in spreads of the runs per nat")
    parser.add_argument("--chosen_runs", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--chosen_seeds", type=int, default=4, help="of those, for the choice and its intervals")
    parser.add_argument("--chosen_families", default="", help="of those, laws to compare, with commas; default: all")
    parser.add_argument("--resamples", type=int, default=0, help="fits for their intervals; 0: as propose makes them")
    parser.add_argument("--draws", type=int, default=20_000, help="mixtures scored where a law has no gradient")
    parser.add_argument(
        "--regmix", type=Path, help="the folder data of RegMix's repository: measure on it and nothing else"
    )
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions("numpy", "scipy", "scikit-learn", "lightgbm"),
    }
    if options.regmix:
        result |= {"published": _regmix(options.regmix)}
    else:
        result |= {"units": UNITS, "noise": NOISE, "seeds": options.seeds, "fit_cpu_s": _seconds()}
        for name, measure, sizes in (("regret", _regrets, options.runs), ("chosen", _chosen, options.chosen_runs)):
            if name not in options.sections:
                continue
            result[name] = []
            for kind, runs in itertools.product(options.surfaces, sizes):
                result[name].append(measure(kind, runs, options))
                _write(options.json, result)  # what takes hours is kept as it grows
    _write(options.json, result)


def _write(path: Path, result: dict[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _runs(own: Surface, count: int, seed: int, design: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights of so many runs, and what they measure."""
    generator = np.random.default_rng(np.random.SeedSequence((seed, 12)))
    pool = generator.dirichlet(np.ones(UNITS), 600)
    spread = float(np.std(own.losses(pool)))
    weights = pool[:count] if design == "random" else pool[d_optimal(pool, count, degree=1, seed=seed, starts=2)]
    return weights, own.losses(weights) + NOISE * spread * generator.normal(size=count)


def _regret(own: Surface, weights: np.ndarray) -> float:
    losses = own.losses(np.stack([weights, PRIOR]))
    return float((losses[0] - own.lowest) / (losses[1] - own.lowest))


def _regrets(kind: str, runs: int, options: argparse.Namespace) -> dict[str, Any]:
    """Of every family that so many runs determine, with and without the pull to the prior."""
    found: dict[str, list[float]] = {}
    limits = Limits.of([str(unit) for unit in range(UNITS)], PRIOR)
    for seed in range(options.seeds):
        own = surface(kind, seed)
        for design in ("random", "d_optimal") if runs in DESIGNED else ("random",):
            weights, losses = _runs(own, runs, seed, design)
            for name, family in FAMILIES.items():
                if family.runs_needed(UNITS) > runs or (
                    design == "d_optimal" and name not in ("log_linear", "ridge_linear")
                ):
                    continue
                fitted = family.fit(weights, losses, seed=seed)
                for pull in options.pulls:
                    searched = _searched(fitted, family.smooth, limits, pull * float(losses.std()), seed, options.draws)
                    found.setdefault(f"{name} {design} pull {pull:g}", []).append(_regret(own, searched))
    print(kind, runs, {name: round(float(np.mean(own)), 3) for name, own in found.items()}, flush=True)
    return {"surface": kind, "runs": runs, "regret": {name: _mean(own) for name, own in found.items()}}


def _searched(fitted: Fitted, smooth: bool, limits: Limits, pull: float, seed: int, draws: int) -> np.ndarray:
    def predict(weights: np.ndarray) -> np.ndarray:
        return fitted.predict(weights).mean

    if smooth:
        return by_gradient(predict, limits, pull=pull, seed=seed)
    return by_draws(predict, limits, pull=pull, seed=seed, count=draws)


def _chosen(kind: str, runs: int, options: argparse.Namespace) -> dict[str, Any]:
    """Of what cross-validation chooses, with the intervals that would have been written before the runs."""
    regrets, chosen, covered, gains = [], [], [], []
    for seed in range(options.chosen_seeds):
        own = surface(kind, seed)
        weights, losses = _runs(own, runs, seed, "random")
        families = [name for name in options.chosen_families.split(",") if name]
        choice = choose(_table(weights, losses), "loss", seed=seed, families=families)
        proposal = propose(choice, PRIOR, seed=seed, resamples=options.resamples)
        mixtures = {name: np.array(list(proposal.mixtures[name].values())) for name in (PROPOSED, EQUAL)}
        generator = np.random.default_rng(np.random.SeedSequence((seed, 13)))
        spread = float(np.std(own.losses(generator.dirichlet(np.ones(UNITS), 600))))
        for name, mixture in mixtures.items():
            run = own.losses(mixture[None])[0] + NOISE * spread * generator.normal(size=20)
            interval = proposal.predictions[name]
            covered.append((name, float(np.mean((interval.low <= run) & (run <= interval.high)))))
        true = own.losses(np.stack([PRIOR, mixtures[PROPOSED]]))
        gains.append(bool(proposal.gain.low <= true[0] - true[1] <= proposal.gain.high))
        regrets.append(_regret(own, mixtures[PROPOSED]))
        chosen.append(proposal.family)
    result = {
        "surface": kind,
        "runs": runs,
        "regret": _mean(regrets),
        "families": chosen,
        "seeds": options.chosen_seeds,
        "covered": {
            name: float(np.mean([share for own, share in covered if own == name])) for name in (PROPOSED, EQUAL)
        },
        "gain_covered": float(np.mean(gains)),
    }
    print(json.dumps(result), flush=True)
    return result


def _mean(values: list[float]) -> dict[str, Any]:
    """Mean and 95% interval over seeds (Student's t)."""
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(values) > 1 else float("nan")
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": values}


def _table(weights: np.ndarray, losses: np.ndarray) -> RunTable:
    units = tuple(f"unit_{at}" for at in range(weights.shape[1]))
    return RunTable(
        tuple(f"run_{at:04d}" for at in range(len(losses))), units, weights, {"loss": losses}, {"loss": False}
    )


def _seconds(runs: int = 512, rounds: int = 3) -> dict[str, Any]:
    """CPU seconds of one fit at 512 runs of 17 sources; the median of some rounds."""
    generator = np.random.default_rng(0)
    weights = generator.dirichlet(np.ones(SOURCES), runs)
    slopes = generator.normal(0, 1, SOURCES)
    losses = 2 + np.exp(weights @ slopes) + 0.02 * generator.normal(size=runs)
    found: dict[str, Any] = {}
    for name, family in FAMILIES.items():
        seconds = []
        for _ in range(rounds):
            begun = time.process_time()
            family.fit(weights, losses, seed=0)
            seconds.append(time.process_time() - begun)
        found[name] = {"median": float(np.median(seconds)), "rounds": seconds}
    print({name: round(own["median"], 2) for name, own in found.items()}, flush=True)
    return {"runs": runs, "sources": SOURCES, "families": found}


def _regmix(folder: Path) -> list[dict[str, Any]]:
    """Spearman on RegMix's 256 test runs, of fits to its first n runs; trees as its notebook stops them too."""
    train, test = (_published(folder, part) for part in ("train", "test"))
    found = []
    for runs in (32, 64, 128, 256, 512):
        rows = train.rows(range(runs))
        for objective in train.scores:
            losses, truth = rows.losses(objective), test.losses(objective)
            own: dict[str, float] = {}
            for name, family in FAMILIES.items():
                predicted = family.fit(rows.weights, losses, seed=42).predict(test.weights).mean
                own[name] = spearman(predicted[None], truth)
            stopped = BoostedTrees().fit(rows.weights, losses, seed=42, validation=(test.weights, truth))
            own["boosted_trees_stopped_by_the_test_runs"] = spearman(stopped.predict(test.weights).mean[None], truth)
            found.append({"runs": runs, "objective": objective, "spearman": own})
        here = [one["spearman"] for one in found if one["runs"] == runs]
        print(runs, {name: round(float(np.mean([one[name] for one in here])), 4) for name in here[0]}, flush=True)
    return [
        {**one, "spearman": {k: v if np.isfinite(v) else None for k, v in one["spearman"].items()}} for one in found
    ]


def _published(folder: Path, part: str) -> RunTable:
    mixtures, losses = folder / f"{part}_mixture_1m.csv", folder / f"{part}_pile_loss_1m.csv"
    return read_table(
        mixtures,
        weights=[name for name in columns_of(mixtures) if name != "index"],
        objectives=[name for name in columns_of(losses) if name != "index"],
        lower_is_better=True,
        scores_path=losses,
    )


if __name__ == "__main__":
    main()
