"""Solved examples before a question: chosen by rule, never the question itself."""

import dataclasses

import pytest

from flan_jax.data.benchmarks.benchmark import Shot
from flan_jax.data.benchmarks.shots import ShotChooser
from flan_jax.errors import UserError
from flan_jax.testing.benchmarks import write_gsm8k, write_mmlu


def test_published_ones_are_the_first_in_their_order(tmp_path, read):
    task = read("mmlu", write_mmlu(tmp_path), "astronomy")
    chooser = ShotChooser(task, 3, order="published", seed=0)
    assert [chooser(question).shots for question in task.questions] == [task.shots[:3]] * 6


@pytest.mark.parametrize("order", ["published", "drawn"])
def test_one_that_asks_the_same_is_never_shown(tmp_path, read, order):
    task = read("mmlu", write_mmlu(tmp_path), "astronomy")
    asked = task.questions[1].asks
    same = Shot("LEAK", {"question": f"  {asked['question'].upper()} ", "choices": asked["choices"]})
    task = dataclasses.replace(task, shots=(task.shots[0], same, *task.shots[1:]))
    chooser = ShotChooser(task, 5, order=order, seed=0)
    chosen = [chooser(question) for question in task.questions]
    assert not any(shot.text == "LEAK" for shot in chosen[1].shots)
    assert len(chosen[1].shots) == 5, "the next one takes its place"
    if order == "published":
        assert [own.leaks for own in chosen] == [0, 1, 0, 0, 0, 0]
        assert all(own.shots[1].text == "LEAK" for place, own in enumerate(chosen) if place != 1)


def test_drawn_ones_depend_on_seed_task_and_example_alone(tmp_path, read):
    task = read("gsm8k", write_gsm8k(tmp_path, train=40), "gsm8k")

    def drawn(task, seed=0):
        chooser = ShotChooser(task, 8, order="drawn", seed=seed)
        return [[shot.text for shot in chooser(question).shots] for question in task.questions]

    first = drawn(task)
    assert all(len(set(texts)) == 8 for texts in first)
    assert (
        first
        == drawn(task)
        == [drawn(dataclasses.replace(task, questions=(question,)))[0] for question in task.questions]
    )
    assert len({tuple(texts) for texts in first}) == 3
    assert drawn(task, seed=1) != first
    assert drawn(dataclasses.replace(task, name="other")) != first


def test_fewer_than_asked_for_is_an_error(tmp_path, read):
    task = read("mmlu", write_mmlu(tmp_path), "astronomy")
    with pytest.raises(
        UserError, match=r"mmlu_astronomy has 5 solved example\(s\), but 6 are asked for\. Ask for at most 5"
    ):
        ShotChooser(task, 6, order="published", seed=0)
