"""``flan-jax propose``: from a table to a proposal and to what was measured, and what it refuses."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from flan_jax.cli import gin_config
from flan_jax.cli.commands.propose import shares_of_study
from flan_jax.studies.proposals import record
from flan_jax.studies.space import base_space

OPTIONS = ("--weights", "w_*", "--objective", "loss", "--better", "lower")
BOTTOM = np.array([0.2, 0.3, 0.5])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A table of runs of a bowl, with another score beside it."""
    generator = np.random.default_rng(0)
    weights = generator.dirichlet(np.ones(3), 24)
    weights[-3:] = weights[0]
    losses = 1 + ((weights - BOTTOM) ** 2).sum(axis=1) + 0.01 * generator.normal(size=24)
    rows = [
        ",".join(
            [
                f"run_{at}",
                *(f"{share:.6f}" for share in own),
                f"{loss:.6f}",
                f"{1 - loss / 3:.6f}",
                f"{own[0]:.4f}",
                f"{own[2]:.4f}",
            ]
        )
        for at, (own, loss) in enumerate(zip(weights, losses, strict=True))
    ]
    path = tmp_path_factory.mktemp("propose") / "runs.csv"
    path.write_text("\n".join(["run,w_a,w_b,w_c,loss,other,c_fewer_a,c_more_c", *rows]) + "\n")
    return str(path)


def test_a_table_is_fitted_proposed_from_and_confirmed(cli, runs, tmp_path):
    folder = tmp_path / "proposal"
    laws = ("--families", "ridge_linear,ridge_quadratic")
    limits = ("--tokens", "w_a=100,w_b=100,w_c=100", "--target_tokens", "1000", "--repeats", "4")
    base = ("--base_gin", "runs/quickstart.gin")
    done = cli(
        "propose", "--table", runs, *OPTIONS, *laws, *base, "--beside", "other", "--output_dir", str(folder), *limits,
        "--clusters", "c_*",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "24 runs, 3 weights, objective loss (lower is better)" in done.out
    assert "Noise ceiling, of 4 runs of 1 repeated mixtures" in done.out
    assert "Expected gain over the prior: +" in done.out
    assert "Beside it, other" in done.out
    assert "Held back by the limit on repeats: w_c." in done.out
    document = json.loads((folder / "proposal.json").read_text())
    assert document["prior"] == "--tokens"
    # Losses of two clusters, equal to the shares of a and c: less of a helps the one, more of c hurts the other.
    verdicts = {law["objective"]: law["verdict"] for law in document["clusters"]}
    assert verdicts == {"c_fewer_a": "helped", "c_more_c": "hurt"}
    assert "from the proportional to the proposed mixture: 1 helped, 1 hurt." in done.out
    assert done.out.index("c_more_c") < done.out.index("c_fewer_a")
    assert document["mixtures"]["proposed"]["w_c"] == pytest.approx(0.4, abs=1e-5)
    confirming = gin_config.load([str(folder / "proposed.gin")]).config
    assert confirming.mixing.weights == pytest.approx(document["mixtures"]["proposed"], abs=1e-5)
    assert confirming.model_dir == str(folder / "runs" / "proposed")
    assert confirming.mixture == "mini"

    interval = document["predictions"]["proposed"]
    (folder / "measured.csv").write_text(f"run,loss\nproposed,{interval['value']}\nequal,9\n")
    covered = cli("propose", "--coverage", str(folder), "--json")
    assert covered.code == 0, covered.err
    found = json.loads(covered.out)
    assert (found["covered"], found["measured"]) == (1, 2)
    assert [run["covered"] for run in found["runs"]] == [True, None, False]
    assert "The intervals covered 1 of 2 measured runs" in cli("propose", "--coverage", str(folder)).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "No runs are named"),
        (("--table", "{runs}", "--coverage", "x"), "--table and --coverage exclude each other"),
        (("--table", "{runs}", "--weights", "w_*", "--objective", "loss"), "--table needs --better"),
        (("--study_dir", "x", "--weights", "w_*"), "--weights is read with --table only"),
        (("--table", "{runs}", *OPTIONS, "--target_tokens", "5"), "Give --tokens"),
        (("--table", "{runs}", *OPTIONS, "--repeats", "5"), "Give --tokens and --target_tokens too"),
        (("--table", "{runs}", "--weights", "w_a,w_x", *OPTIONS[2:]), "Unknown column in --weights 'w_x'"),
        (("--table", "{runs}", "--weights", "w_a,w_b", *OPTIONS[2:]), "its weights sum to"),
        (("--table", "{runs}", *OPTIONS, "--clusters", "k_*"), "Unknown column in --clusters 'k_*'"),
        (("--study_dir", "x", "--clusters", "c_*"), "--clusters is read with --table only"),
        (("--table", "{runs}", *OPTIONS[:2], "--objective", "lost", *OPTIONS[4:]), "Did you mean 'loss'"),
        (("--table", "{runs}", *OPTIONS, "--families", "log_lin"), "Did you mean 'log_linear'"),
        (("--table", "{runs}", *OPTIONS, "--output_dir", "{runs}"), "is a file. Name a folder"),
        (("--table", "{runs}", *OPTIONS, "--base_gin", "runs/quickstrat.gin"), "Did you mean 'runs/quickstart.gin'"),
        (("--study_dir", "{folder}/none"), "There is no folder"),
        (("--study_dir", "{folder}"), "holds no study.json, so it is not the folder of a study"),
        (("--coverage", "{folder}"), "holds proposal.json"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(cli, runs, tmp_path, arguments, message):
    done = cli("propose", *(text.format(runs=runs, folder=tmp_path) for text in arguments))
    assert done.code == 2
    assert message in done.err
    assert not list(Path(tmp_path).iterdir())


def test_a_folder_that_may_not_be_written_to_is_said(cli, runs, tmp_path, monkeypatch):
    def refuses(path, text):
        raise OSError(errno.EROFS, "read-only", str(path))

    monkeypatch.setattr(record, "atomic_write_text", refuses)
    done = cli(
        "propose", "--table", runs, *OPTIONS, "--families", "ridge_linear", "--output_dir", str(tmp_path / "proposal")
    )
    assert done.code == 2
    assert "cannot be written: it may only be read" in done.err


def test_the_prior_of_a_study_is_its_mixtures_own_whatever_weights_its_runs_have(tmp_path):
    folder = tmp_path / "runs" / "run_0000"
    folder.mkdir(parents=True)
    run = gin_config.load(["runs/quickstart.gin"], [f"MODEL_DIR='{folder}'"])
    own = base_space(run.config).shares("clusters")
    weighted = gin_config.load(
        ["runs/quickstart.gin"], [f"MODEL_DIR='{folder}'", f"run.weights={dict.fromkeys(own, 1.0)}"]
    )
    (folder / "config.gin").write_text(weighted.operative)
    units = tuple(own)[:4]
    whole = sum(own[unit] for unit in units)
    assert shares_of_study(tmp_path, units) == pytest.approx([own[unit] / whole for unit in units])
    assert shares_of_study(tmp_path, ("no", "units")) is None
