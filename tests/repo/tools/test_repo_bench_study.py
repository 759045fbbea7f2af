"""The benchmarks of studies: on tiny models they run to their end and count right; surfaces have the optimum they claim."""

import json
from typing import Any

import numpy as np
import pytest
from bench_tool import TOOLS, tool


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("bench") / "study.json"
    few = "--tiny --models decoder --runs 8 16 --rounds 1 --run_steps 2 --batch_size 2 --inputs 32 --targets 16"
    study = "--study_runs 2 --study_group 1 --study_steps 2 --study_rounds 1"
    tool("bench_study", TOOLS / "studies").main([*few.split(), *study.split(), "--json", str(path)])
    return dict(json.loads(path.read_text()))


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_runs_together_are_measured_beside_one_after_another(measured: dict[str, Any]) -> None:
    own = measured["models"]["decoder"]
    assert set(own["wall_s"]) == set(own["compile_s"]) == set(own["bytes"]) == {"alone", "8", "16"}
    assert all(len(rounds) == 1 and rounds[0] > 0 for rounds in own["wall_s"].values())
    assert own["together_over_alone"]["alone"] == 1
    # Parameters and both moments of the optimizer, in 32 bits, are the least that a run adds; there are eight devices.
    assert 8 * own["bytes_each_run_adds"][0] > 12 * own["parameters"]
    assert set(measured["feeding"]) == {"8", "16"}


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_a_study_is_measured_beside_its_bare_runs(measured: dict[str, Any]) -> None:
    study = measured["study"]
    assert (study["runs"], study["runs_per_group"], study["steps"]) == (2, 1, 2)
    (bare,), (swept,) = study["wall_s"]["bare"], study["wall_s"]["study"]
    assert study["overhead"] == pytest.approx(swept / bare - 1)


def test_no_mixture_is_better_than_the_optimum_that_a_surface_states() -> None:
    surfaces = tool("_bench_surfaces", TOOLS / "studies")
    drawn = np.random.default_rng(0).dirichlet(np.ones(surfaces.UNITS), 2000)
    drawn = np.concatenate([drawn, np.eye(surfaces.UNITS)])
    for kind in surfaces.KINDS:
        own = surfaces.surface(kind, 1)
        least = own.losses(drawn).min()
        assert own.lowest <= least + 1e-6
        # And it is no empty bound: random mixtures come near it.
        assert least - own.lowest < np.ptp(own.losses(drawn))
