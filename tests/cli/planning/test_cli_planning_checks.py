"""Plans that `launch` and `sweep --dry_run` ask for: what is said, what is refused, and how often a study compiles."""

import dataclasses
from typing import Any

import pytest

from flan_jax.cli.planning import checks
from flan_jax.cli.planning.checks import launch_lines, study_lines, study_plan
from flan_jax.data.prepare.config import TokenizeConfig
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.feed.config import FeedConfig
from flan_jax.launch.accelerators import Chips
from flan_jax.plan.job import PlanJob
from flan_jax.plan.packages import Compiler
from flan_jax.plan.plan import plan_of
from flan_jax.testing.models import tiny_t5
from flan_jax.train.optimizer import OptimizerConfig

RUN = RunConfig(
    model_dir="runs/first", mixture="mini", model=tiny_t5(), optimizer=OptimizerConfig(), steps=1000,
    tokenize=TokenizeConfig(lengths={"inputs": 32, "targets": 16}), feed=FeedConfig(batch_size=16),
)  # fmt: skip
OWN = Compiler("tpu", "libtpu 0.0.42")
STANDS_IN = Compiler("cpu", "jaxlib (CPU)", "simulated")


class Plans:
    """Stands in for the compiler: every step needs so many bytes; keeps what it was asked for."""

    def __init__(self, peak: int) -> None:
        self.peak = peak
        self.jobs: list[PlanJob] = []

    def __call__(self, job: PlanJob, compiler: Compiler, run: Any) -> dict[str, Any]:
        self.jobs.append(job)
        memory = {"arguments": 0, "results": 0, "reused": 0, "temporaries": self.peak, "code": 0, "peak": self.peak}
        program = {
            "trace_seconds": 1.0, "compile_seconds": 2.0, "operations": 8e12, "compiled_operations": 1.97e12,
            "traffic": 0, "collectives": [], "memory": memory,
        }  # fmt: skip
        state = {"parameters": 40, "frozen": 0, "optimizer": 50, "average": 0, "whole": 720, "count": 80}
        mesh = dict(zip(("data", "fsdp", "tensor"), job.mesh.sizes(job.devices), strict=True))
        measured = {"mesh": mesh, "hosts": [0] * job.devices, "state": state, "replicated": {}}
        return plan_of(job, compiler, run, {**measured, "programs": {"train": program}})


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Plans:
    found = Plans(2**30)
    monkeypatch.setattr(checks, "make_plan", found)
    monkeypatch.setattr(checks, "compiler_for", lambda target, *, force_cpu=False: STANDS_IN if force_cpu else OWN)
    return found


def lines(chips: Chips, mode: checks.PlanMode = "auto", run: RunConfig = RUN) -> list[str]:
    return launch_lines(run, chips, mode, dropped="--plan off")


def test_a_launch_is_planned_on_the_chips_that_it_asks_for(plans: Plans) -> None:
    (said,) = lines(Chips("v5e", 8))
    assert said.startswith(
        "planned for 8 × v5e (data=8, fsdp=1, tensor=1; compiled by libtpu 0.0.42): it fits, 1.00 GiB of"
    )
    # 1.97e12 of 197e12 operations a second, a thousand times, on eight chips at 1.20 dollars an hour.
    assert "a step takes 10 ms to 10 ms, 1,000 steps 10.0 seconds to 10.0 seconds and 0.03 to 0.03 US dollars" in said
    assert [(job.devices, job.target, job.programs) for job in plans.jobs] == [(8, "v5e", ("train",))]
    assert "simulated" in lines(Chips("v5e", 8), "simulate")[0]


def test_what_does_not_fit_is_refused(plans: Plans) -> None:
    plans.peak = 2**34
    with pytest.raises(
        UserError, match=r"does not fit 8 × v5e: 16.00 GiB of 15.75 GiB a device.* --plan off launches it"
    ):
        lines(Chips("v5e", 8))
    (said,) = lines(Chips("v5e", 8), "simulate")  # another compiler's temporaries decide nothing
    assert "it may not fit" in said
    with pytest.raises(UserError, match="cannot be split over 32 devices"):
        lines(Chips("v5e", 32))
    with pytest.raises(UserError, match="a power of two of chips"):
        lines(Chips("v5e", 12))
    with pytest.raises(UserError, match="Did you mean 'H200'"):
        lines(Chips("H20", 8))


def test_what_is_not_planned_says_why(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(Chips("v5e", 32), "off") == lines(Chips()) == []
    assert "do not say what kind its 8 devices are" in lines(Chips("", 8))[0]
    with pytest.raises(UserError, match="ask for no devices"):
        lines(Chips("H100", 0))
    monkeypatch.setattr(checks, "compiler_for", lambda target, *, force_cpu=False: STANDS_IN)
    assert "compiler of v5e is not installed" in lines(Chips("v5e", 8))[0]
    assert "'flan-jax[plan-gpu]'" in lines(Chips("H100", 8))[0]
    assert plans.jobs == []
    lines(Chips("H100", 8), "simulate")
    assert len(plans.jobs) == 1


def test_runs_of_a_study_that_compile_alike_are_compiled_once(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = dataclasses.replace(RUN, feed=FeedConfig(batch_size=32))
    other = dataclasses.replace(RUN, seed=1, steps=500)
    found = study_plan([RUN, other, wide], "v5e", 2)
    assert [(shape["runs"], shape["plan"]["run"]["steps"]) for shape in found["shapes"]] == [(2, 1500), (1, 1000)]
    assert found["seconds"][0] == pytest.approx(25.0)
    said = study_lines(found)
    assert said[0].startswith("2 runs planned for 2 × v5e")
    assert said[-1] == "One after the other: 25.0 seconds to 25.0 seconds, 0.02 to 0.02 US dollars."
    monkeypatch.setattr(checks, "MOST_SHAPES", 1)
    few = study_plan([RUN, other, wide], "v5e", 2)
    assert (few["unplanned"], len(plans.jobs)) == (1, 3)
    assert "1 runs of further shapes are not planned" in study_lines(few)[1]
