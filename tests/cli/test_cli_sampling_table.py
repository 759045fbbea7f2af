import numpy as np

from flan_jax.cli.sampling_table import sampling_table
from flan_jax.feed.sampling_stats import SamplingStats


def stats(tasks):
    examples = np.arange(1, tasks + 1)
    return SamplingStats(
        tuple(f"task{i}" for i in range(tasks)),
        examples * 1.0,
        np.full(tasks, 10),
        examples,
        examples * 5,
        examples * 2,
    )


def test_every_task_has_a_line_the_largest_first():
    lines = sampling_table(stats(3)).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("task")] == ["task", "task2", "task1", "task0"]
    assert lines[-1].split() == ["all", "3", "tasks", "100.00%", "100.00%", "6", "42", "100.00%"]
    (largest,) = [line for line in lines if line.startswith("task2")]
    assert largest.split() == ["task2", "50.00%", "50.00%", "3", "0.30", "21", "50.00%"]


def test_small_tasks_are_summed_up():
    text = sampling_table(stats(1836), most=5)
    assert "1831 more tasks" in text
    assert len(text.splitlines()) < 12
    assert "all 1 tasks" not in sampling_table(stats(1))
