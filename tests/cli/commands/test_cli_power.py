"""``flan-jax power``: what it answers from numbers and from predictions, and what it refuses."""

import json

import pytest


def predictions(path, scores, *, inputs="p"):
    rows = [
        {"example_id": row, "template_id": 0, "inputs": f"{inputs}{row}", "options": [], "references": ["x"],
         "prediction": "x", "option_scores": [], "score": score}
        for row, score in enumerate(scores)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def answer(cli, *arguments):
    done = cli("power", *arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_a_difference_needs_examples(cli):
    found = answer(cli, "--difference", "2", "--accuracy", "70", "--disagreement", "15")
    assert found["examples_by_formula"] == 2941
    assert 2941 < found["examples_needed"] < 3100
    words = cli("power", "--difference", "2", "--accuracy", "70", "--disagreement", "15").out
    assert f"needs {found['examples_needed']:,} examples (normal approximation: 2,941)" in words


def test_examples_show_a_difference(cli):
    found = answer(cli, "--examples", "500", "--accuracy", "70", "--correlation", "0.7", "--difference", "4.5")
    assert found["smallest_difference"] == pytest.approx(0.045, abs=5e-4)
    assert found["power_with_examples"] == pytest.approx(0.8, abs=0.01)
    few = cli("power", "--examples", "5", "--accuracy", "70", "--disagreement", "3")
    assert "no difference that these models can have" in few.out


def test_two_files_of_predictions_say_what_two_numbers_say(cli, tmp_path):
    first = [1] * 60 + [0] * 40
    second = [1] * 55 + [0] * 5 + [1] * 10 + [0] * 30
    files = [predictions(tmp_path / name, own) for name, own in (("a", first), ("b", second))]
    found = answer(cli, "--difference", "5", "--predictions", *files)
    assert (found["measured"], found["disagreement"]) == (100, 0.15)
    assert (found["measured_first"], found["measured_second"]) == pytest.approx((0.6, 0.65))
    by_hand = answer(cli, "--difference", "5", "--accuracy", "60", "--disagreement", "15")
    assert found["examples_needed"] == by_hand["examples_needed"]
    # Without a difference, it says what these examples show.
    assert answer(cli, "--predictions", *files, "--examples", "100")["examples"] == 100


def test_graded_scores_are_planned_by_their_variance(cli, tmp_path):
    files = [
        predictions(tmp_path / name, scores)
        for name, scores in (("a", [0.2, 0.5, 0.9, 0.4]), ("b", [0.4, 0.4, 1, 0.6]))
    ]
    found = answer(cli, "--difference", "2", "--predictions", *files)
    variance = ((0.2 - 0.1) ** 2 + (-0.1 - 0.1) ** 2 + 0 + (0.2 - 0.1) ** 2) / 3
    assert found["variance"] == pytest.approx(variance)
    assert found["examples_needed"] == pytest.approx((1.95996 + 0.84162) ** 2 * variance / 0.02**2, abs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--accuracy", "70", "--disagreement", "5"], "Give --difference"),
        (["--difference", "2"], "Give --accuracy with --disagreement"),
        (["--difference", "2", "--accuracy", "70"], "Give --accuracy with --disagreement"),
        (["--difference", "0", "--accuracy", "70", "--disagreement", "5"], "--difference 0 must be above 0"),
        (["--difference", "2", "--accuracy", "700", "--disagreement", "5"], "--accuracy 700 must lie between"),
        (["--difference", "2", "--accuracy", "70", "--correlation", "2"], "--correlation 2 must be"),
        (["--difference", "2", "--accuracy", "70", "--disagreement", "5", "--power", "1"], "--power 1 must be below 1"),
        (["--difference", "2", "--accuracy", "70", "--disagreement", "5", "--alpha", "nan"], "--alpha nan must be"),
        (["--difference", "2", "--accuracy", "70", "--disagreement", "5", "--power", "0.01"], "must be above --alpha"),
        (["--examples", "0", "--accuracy", "70", "--disagreement", "5"], "--examples 0 must lie"),
        (["--difference", "20", "--accuracy", "70", "--disagreement", "15"], "disagree on 20.0% to 40.0%"),
        (["--difference", "2", "--predictions", "no.jsonl", "nor.jsonl"], "There is no file of predictions 'no.jsonl'"),
    ],
)
def test_what_cannot_be_planned_is_refused(cli, arguments, message):
    done = cli("power", *arguments)
    assert done.code == 2
    assert message in done.err
    assert done.out == ""


def test_files_of_other_examples_are_refused(cli, tmp_path):
    files = [predictions(tmp_path / "a", [1, 0, 1]), predictions(tmp_path / "b", [1, 0, 0], inputs="q")]
    done = cli("power", "--difference", "2", "--predictions", *files)
    assert done.code == 2
    assert "the prompts of 3 of 3 examples differ" in done.err
    same = [predictions(tmp_path / name, [1, 0, 1]) for name in ("c", "d")]
    assert "never differ" in cli("power", "--difference", "2", "--predictions", *same).err
    both = cli("power", "--difference", "2", "--predictions", *same, "--accuracy", "50")
    assert "Leave one of them out" in both.err
