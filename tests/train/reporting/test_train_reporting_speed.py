"""Rates of a run's steps, and where the rest of its time goes."""

import itertools
import json
import time
from types import SimpleNamespace

import pytest
from run_tiny import TinyRun, make_batch

from flan_jax.models.operations import step_operations
from flan_jax.plan.targets import TARGETS
from flan_jax.testing.models import tiny_decoder, tiny_t5
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.hooks import MetricsWriter, Progress
from flan_jax.train.loop import fit
from flan_jax.train.reporting.peak_rates import PEAK_RATES, peak_rate
from flan_jax.train.reporting.speed import Speed, Stopwatch

LINE = {"tokens": 300.0, "steps": 4, "seconds": 2.0}


def devices(*kinds):
    return [SimpleNamespace(device_kind=kind) for kind in kinds]


@pytest.mark.parametrize(("model", "inputs", "targets"), [(tiny_t5(), 12, 6), (tiny_decoder(), 0, 18)])
def test_rates_of_a_window(model, inputs, targets):
    speed = Speed(model, 8, (12, 6), frozen=False, devices=devices("TPU v4", "TPU v4"))
    found = speed(LINE)
    assert found["tokens_per_second"] == 150
    assert found["places_per_second"] == 8 * 18 * 2
    assert found["mfu"] == pytest.approx(2 * step_operations(model, 8, inputs, targets) / (2 * 275e12))
    frozen = Speed(model, 8, (12, 6), frozen=True, devices=devices("TPU v4", "TPU v4"))
    assert frozen(LINE)["mfu"] == pytest.approx(found["mfu"] * 2 / 3)


def test_a_device_that_no_table_has_has_no_mfu():
    assert "mfu" not in Speed(tiny_t5(), 8, (12, 6), frozen=False, devices=devices("TPU v4", "cpu"))(LINE)


def test_every_target_that_is_planned_for_has_a_rate_by_what_jax_calls_it():
    assert set(TARGETS) == set(PEAK_RATES)
    for kind, name in {
        "TPU v4": "v4", "TPU v5 lite": "v5e", "TPU v5": "v5p", "TPU v5p": "v5p", "TPU v6 lite": "v6e",
        "NVIDIA A100-SXM4-80GB": "A100-80", "NVIDIA H100 80GB HBM3": "H100", "NVIDIA H200": "H200", "NVIDIA B200": "B200",
    }.items():  # fmt: skip
        for dtype in ("bfloat16", "float32"):
            assert peak_rate(kind, dtype) == TARGETS[name].peak(dtype)


def test_parts_of_time_are_read_once():
    watch = Stopwatch()
    with watch.measuring("save"):
        time.sleep(0.02)
    with watch.measuring("save"):
        time.sleep(0.02)
    first, second = watch.read(), watch.read()
    assert first["save_seconds"] >= 0.04
    assert first["data_wait_seconds"] == first["evaluate_seconds"] == 0
    assert second == dict.fromkeys(first, 0.0)


def test_logged_lines_and_progress_say_it(tiny_run: TinyRun, tmp_path, capsys):
    speed = Speed(tiny_t5(), 8, (12, 6), frozen=False, devices=devices("TPU v4"))

    def measure(step, metrics, state):
        time.sleep(0.02)

    with Checkpointer(tmp_path / "checkpoints") as checkpointer:
        fit(
            tiny_run.start(), map(make_batch, itertools.count()), tiny_run.step, shard_batch=tiny_run.put, steps=4, log_every=2, checkpointer=checkpointer, measures=[measure], speed=speed,
            hooks=[MetricsWriter(tmp_path / "metrics.jsonl"), Progress(4)],
        )  # fmt: skip
    first, second = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    for line in (first, second):
        assert line["speed"]["places_per_second"] == pytest.approx(8 * 18 * line["steps"] / line["seconds"])
        assert 0 < line["speed"]["data_wait_seconds"] < line["seconds"]
        assert line["speed"]["mfu"] > 0
    # What comes behind a line is in the next one.
    assert first["speed"]["evaluate_seconds"] == 0
    assert second["speed"]["evaluate_seconds"] >= 0.02
    assert "% MFU" in capsys.readouterr().err
