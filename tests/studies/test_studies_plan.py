"""A planned run and its digest."""

import dataclasses

import pytest

from flan_jax.studies.plan import DIGEST_LENGTH, RunPlan

PLAN = RunPlan(
    index=3,
    name="run_0003",
    levels={"rate": 1e-3, "left_out": ["topic"]},
    weights={"sentiment": 0.25, "topic": 0.75},
    options={"seed": 4, "weights": {"sentiment": 0.25, "topic": 0.75}},
)


def test_digest_forgets_order_and_place_in_the_study() -> None:
    turned = dataclasses.replace(
        PLAN,
        index=9,
        name="run_0009",
        levels=dict(reversed(PLAN.levels.items())),
        weights=dict(reversed(PLAN.weights.items())),
        options=dict(reversed(PLAN.options.items())),
    )
    assert turned.digest() == PLAN.digest()
    assert len(PLAN.digest()) == DIGEST_LENGTH


@pytest.mark.parametrize(
    "changed",
    [
        {"levels": {"rate": 2e-3, "left_out": ["topic"]}},
        {"weights": {"sentiment": 0.75, "topic": 0.25}},
        {"options": {"seed": 5}},
        {"replicate": 1},
    ],
)
def test_digest_tells_runs_apart(changed: dict[str, object]) -> None:
    assert dataclasses.replace(PLAN, **changed).digest() != PLAN.digest()  # type: ignore[arg-type]
