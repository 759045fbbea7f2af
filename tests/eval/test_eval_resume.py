"""An evaluation that is killed goes on where it stood, and a task that fails takes nothing with it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.journal import Journal, answers_key
from flan_jax.eval.language_model import AnsweredBatch, BatchError
from flan_jax.eval.results import (
    merge_results,
    read_predictions,
    read_results,
    step_folder,
    why_not_current,
    write_results,
)
from flan_jax.eval.runner import evaluate
from flan_jax.eval.suites import evaluate_suites
from flan_jax.files import WritingError

SETTINGS = {"seed": 0}


def example(index, *, options=("yes", "no"), first=3):
    return EvalExample(
        np.array([first, 5 + index % 7, 1]), options, ("yes",), index, index % 2, f"w{5 + index % 7} more"
    )


def task(name, count=6, predict="rank", metric="accuracy", first=3):
    return EvalTask(name, "c", metric, predict, [example(index, first=first) for index in range(count)])


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


class Batches:
    """Answers three examples at a time, from their tokens; may be killed after some batches, or fail for some tokens."""

    empty_prompt = np.array([1])

    def __init__(self, *, kill_after=None, fails=(), error=None):
        self.kill_after, self.fails = kill_after, set(fails)
        self.error = error or ValueError("no such thing\nand more")
        self.asked = []

    def option_tokens(self, options):
        return [len(option) for option in options]

    def answer_batches(self, request, examples, skip=()):
        for start in range(0, len(examples), 3):
            members = [index for index in range(start, min(start + 3, len(examples))) if index not in skip]
            if not members:
                continue
            if self.kill_after is not None and len(self.asked) >= self.kill_after:
                raise Killed
            self.asked.append(len(members))
            if any(int(examples[index].inputs[0]) in self.fails for index in members):
                raise BatchError(members) from self.error
            yield AnsweredBatch(members, [self._answer(request, examples[index]) for index in members])

    def _answer(self, request, own):
        if request == "text":
            return f"answer {own.inputs.sum()} ü"
        scores = np.array([-1.0 / 3 * own.inputs.sum(), -(own.inputs.sum() ** 1.1) / 5])
        return float(scores[0]) if request == "score" else scores[: len(own.options)]

    def notes(self, request, examples):
        return []

    def rank_notes(self, examples):
        return []


def tasks():
    return [task("a"), task("b", 5), task("g", 7, "generate", "exact_match")]


def measured(folder, model, weights="w", settings=SETTINGS, chosen=None):
    journal = Journal(step_folder(folder, 3) / "answers.journal")
    try:
        results = evaluate_suites(
            model, {"s": chosen or tasks()}, step=3, weights=weights, settings=settings, journal=journal
        )
    finally:
        journal.close()
    return results, journal


def written(folder, results):
    write_results(folder, results)
    return {path.name: path.read_bytes() for path in step_folder(folder, 3).rglob("*.json*")}


@pytest.fixture
def whole(tmp_path):
    """The files of an evaluation that nothing stopped, and the batches it took."""
    model = Batches()
    results, _ = measured(tmp_path / "whole", model)
    return written(tmp_path / "whole", results), len(model.asked)


@pytest.mark.parametrize("batches", [0, 1, 4, 6])
def test_a_killed_evaluation_goes_on_and_repeats_nothing(tmp_path, whole, batches):
    files, count = whole
    with pytest.raises(Killed):
        measured(tmp_path, Batches(kill_after=batches))
    again = Batches()
    results, journal = measured(tmp_path, again)
    assert len(again.asked) == count - batches
    assert written(tmp_path, results) == files
    journal.remove()
    assert not list(step_folder(tmp_path, 3).glob("*.journal"))


def test_a_journal_of_other_weights_settings_or_data_is_not_used(tmp_path, whole):
    _, count = whole
    with pytest.raises(Killed):
        measured(tmp_path, Batches(kill_after=5))
    other = [*tasks()[:1], task("b", 5, first=4), *tasks()[2:]]
    for change, repeated in (
        ({"weights": "v"}, count),
        ({"settings": {"seed": 1}}, count),
        ({"chosen": other}, count - 3),  # of the data, task b alone is another
    ):
        model = Batches()
        folder = tmp_path / "copy"
        path = step_folder(folder, 3) / "answers.journal"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((step_folder(tmp_path, 3) / "answers.journal").read_bytes())
        measured(folder, model, **change)
        assert len(model.asked) == repeated


def test_half_a_line_is_cut_off_and_other_damage_is_counted(tmp_path, whole):
    files, count = whole
    with pytest.raises(Killed):
        measured(tmp_path, Batches(kill_after=4))
    path = step_folder(tmp_path, 3) / "answers.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    path.write_bytes(b"".join(lines[:3]) + lines[3][:17])
    assert Journal(path).damaged == 0
    with pytest.raises(Killed):  # one batch more behind the three that are whole
        measured(tmp_path, Batches(kill_after=1))
    assert path.read_bytes() == b"".join(lines)
    path.write_bytes(b"".join([lines[0], lines[1].replace(b"-", b"+", 1), *lines[2:]]))
    assert Journal(path).damaged == 1
    model = Batches()
    results, journal = measured(tmp_path, model)
    assert (journal.damaged, len(model.asked)) == (1, count - 3)
    assert written(tmp_path, results) == files


def test_a_disk_that_takes_no_more_is_no_fault_of_a_task(tmp_path):
    class Full(Journal):
        def add(self, entries):
            raise WritingError("there is no space left")

    with pytest.raises(WritingError):
        evaluate(Batches(), tasks(), journal=Full(tmp_path / "j"), failed={})


def test_what_a_full_disk_did_not_take_is_no_other_error_when_the_journal_is_closed(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "j")
    journal.add([("key", 0, 1.0)])
    journal.close()
    journal = Journal(tmp_path / "j")
    with Path("/dev/full").open("ab") as full, monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, mode: full)
        with pytest.raises(WritingError, match="no space left"):
            journal.add([("key", 1, 2.0)])
        # Its file holds the line still, and closing tries to write it.
        with pytest.raises(WritingError, match="no space left"):
            journal.close()
    journal.close()
    assert Journal(tmp_path / "j").known("key") == {0: 1.0}


def test_the_key_is_of_all_that_an_answer_depends_on():
    base = [example(0), example(1)]
    keys = {
        answers_key(request, examples, weights, settings)
        for request, examples, weights, settings in (
            ("rank", base, "w", 1), ("text", base, "w", 1), ("rank", base, "v", 1), ("rank", base, "w", 2),
            ("rank", base[::-1], "w", 1), ("rank", base[:1], "w", 1),
            ("rank", [example(0, options=("yes", "n", "o")), base[1]], "w", 1),
            ("rank", [dataclasses.replace(base[0], template_id=5), base[1]], "w", 1),
            ("score", [dataclasses.replace(one, targets=np.array([2])) for one in base], "w", 1),
            ("score", [dataclasses.replace(one, targets=np.array([3])) for one in base], "w", 1),
        )
    }  # fmt: skip
    assert len(keys) == 10


def failing(*names):
    """Three tasks, of which some have tokens that fail."""
    return [task(name, 5, first=9 if name in names else 3) for name in "abc"]


@pytest.mark.parametrize("names", ["a", "b", "ac"])
def test_a_task_that_fails_is_found_and_the_others_are_finished(tmp_path, names):
    model = Batches(fails=[9])
    results, _ = measured(tmp_path, model, chosen=failing(*names))
    assert set(results.failed) == set(names)
    assert {why.split(" (")[0] for why in results.failed.values()} == {"ValueError: no such thing"}
    assert results.refused == ()
    good = [name for name in "abc" if name not in names]
    assert [result.name for result in results.suites["s"]] == good
    assert results.averages["s"].tasks == len(good)
    expected, _ = measured(tmp_path / "x", Batches(), chosen=[task(name, 5) for name in good])
    assert [r.predictions for r in results.suites["s"]] == [r.predictions for r in expected.suites["s"]]
    answered = 5 * len(good)
    # What is asked in vain is at most the batch of three, once for each time that it is halved.
    assert sum(model.asked) <= answered + 2 + 9 * len(names)


def test_a_task_that_fails_before_there_are_batches_is_found_too():
    """As one whose options the tokenizer refuses: no pool that holds it can be asked."""

    class Strict(Batches):
        def answer_batches(self, request, examples, skip=()):
            if any(one.inputs[0] == 9 for one in examples):
                raise UserError("Nine is not a word.")
            yield from super().answer_batches(request, examples, skip)

    errors = {}
    results = evaluate(Strict(), failing("b"), failed=errors)
    assert [result.name for result in results] == ["a", "c"]
    assert list(errors) == ["b"]


def test_a_model_without_batches_is_asked_by_halves():
    class Whole:
        def rank(self, examples, advance):
            if any(one.inputs[0] == 9 for one in examples):
                raise RuntimeError("nine")
            return [np.array([0.0, -1.0])] * len(examples)

        def rank_notes(self, examples):
            return []

    errors = {}
    results = evaluate(Whole(), failing("b"), failed=errors)
    assert [result.name for result in results] == ["a", "c"]
    assert list(errors) == ["b"]


def test_a_task_whose_own_metric_fails_is_left_out_too():
    class Metrics:
        outputs, notes = frozenset(["text"]), ()

        def __call__(self, rows, texts, scores):
            raise KeyError("label")

    broken = dataclasses.replace(task("m", predict="generate"), metric="", task_metrics=Metrics())
    errors = {}
    results = evaluate(Batches(), [task("a"), broken], failed=errors)
    assert [result.name for result in results] == ["a"]
    assert isinstance(errors["m"], KeyError)
    with pytest.raises(KeyError):
        evaluate(Batches(), [task("a"), broken])


def test_what_a_user_gave_is_told_from_a_fault(tmp_path):
    model = Batches(fails=[9], error=UserError("Option 'x' is wrong."))
    results, _ = measured(tmp_path, model, chosen=failing("b"))
    assert dict(results.failed) == {"b": "Option 'x' is wrong."}
    assert results.refused == ("b",)
    write_results(tmp_path, results)
    back = read_results(tmp_path, 3)
    assert (back.failed, back.refused) == ({"b": "Option 'x' is wrong."}, ("b",))
    assert why_not_current(back, "s", "w", back.settings["s"]) == "lacks b, which failed"
    mended, _ = measured(tmp_path, Batches(), chosen=failing("b"))
    write_results(tmp_path, merge_results(tmp_path, mended))
    back = read_results(tmp_path, 3)
    assert (back.failed, len(back.suites["s"])) == ({}, 3)


def test_a_failure_stays_beside_a_suite_that_is_measured_later(tmp_path):
    results, _ = measured(tmp_path, Batches(fails=[9]), chosen=failing("b"))
    write_results(tmp_path, results)
    other = evaluate_suites(Batches(), {"t": [task("d")]}, step=3, weights="w", settings=SETTINGS)
    write_results(tmp_path, merge_results(tmp_path, other))
    back = read_results(tmp_path, 3)
    assert (set(back.suites), set(back.failed)) == ({"s", "t"}, {"b"})
    # All of that suite fails the next time, and what it had holds no longer.
    suites = {"s": [task("a", 5, first=9)], "u": [task("d")]}
    none = evaluate_suites(Batches(fails=[9]), suites, step=3, weights="w", settings=SETTINGS)
    merged = merge_results(tmp_path, none)
    assert (set(merged.suites), set(merged.averages), set(merged.failed)) == ({"t", "u"}, {"t", "u"}, {"a"})


def test_where_nothing_can_be_measured_the_error_is_raised():
    with pytest.raises(ValueError, match="no such thing"):
        evaluate_suites(Batches(fails=[9]), {"s": failing(*"abc")}, step=3)


def test_results_of_an_older_version_are_read(tmp_path):
    results, _ = measured(tmp_path, Batches(), chosen=[task("a")])
    write_results(tmp_path, results)
    path = step_folder(tmp_path, 3) / "results.json"
    content = json.loads(path.read_text())
    for name in ("failed", "refused"):
        del content[name]
    content["suites"]["s"][0]["metrics"] = {}
    path.write_text(json.dumps(content))
    lines = step_folder(tmp_path, 3) / "predictions" / "a.jsonl"
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {"option_tokens", "prior_scores"} <= rows[0].keys()
    older = [{k: v for k, v in row.items() if k not in ("option_tokens", "prior_scores")} for row in rows]
    lines.write_text("".join(json.dumps(row) + "\n" for row in older))
    back = read_results(tmp_path, 3)
    assert (back.failed, back.refused, back.suites["s"][0].metrics) == ({}, (), {})
    first = next(read_predictions(tmp_path, 3, "a"))
    assert (first.option_tokens, first.prior_scores) == ((), ())
    assert first.option_scores == results.suites["s"][0].predictions[0].option_scores
