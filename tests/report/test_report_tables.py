import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_toys import make_run

from flan_jax.errors import UserError
from flan_jax.report.noise import suite_noise
from flan_jax.report.run import read_run
from flan_jax.report.tables import results_table, text_table


def test_results_table_has_before_after_chance_and_interval_by_suite(tmp_path):
    lines = results_table(make_run(tmp_path / "r")).split("\n")
    assert lines[0] == "Scores in per cent before (step 0) and after (step 100)."
    assert lines[2].split() == ["task", "cluster", "metric", "before", "after", "chance", "majority", "95%", "interval"]
    rows = [line.split() for line in lines]
    assert ["[held_in]"] in rows
    assert "[held_out] clusters held out of training" in lines
    assert ["topic", "topics", "accuracy", "25.0", "75.0", "50.0", "75.0", "40.9", "to", "92.9"] in rows
    assert ["rte", "entailment", "accuracy", "33.3", "100.0", "50.0", "66.7", "61.0", "to", "100.0"] in rows
    mean = next(row for row in rows if row[:4] == ["mean", "of", "2", "tasks"])
    assert mean[4:8] == ["25.0", "75.0", "25.0", "87.5"]
    assert rows.index(["[held_in]"]) < rows.index(mean) < lines.index("[held_out] clusters held out of training")
    assert ["mean", "of", "16", "examples", "25.0", "75.0"] in rows
    assert "\x1b" not in "".join(lines)


def test_columns_are_aligned_and_narrow(tmp_path):
    folder = make_run(tmp_path / "r")
    path = folder / "eval" / "100" / "results.json"
    content = json.loads(path.read_text())
    content["suites"]["held_in"][0] |= {"task": "long_" * 20, "cluster": "wide_" * 20, "metric": "metric_" * 5}
    path.write_text(json.dumps(content))
    lines = results_table(folder).split("\n")
    assert max(map(len, lines)) <= 100
    end = lines[2].index("after") + len("after")
    scores = [line[:end].split()[-1] for line in lines[4:] if "to" in line.split()]
    assert len(scores) == 5
    assert all("." in score for score in scores)
    assert any("…" in line for line in lines)


def test_one_evaluation_gives_one_score(tmp_path):
    lines = results_table(make_run(tmp_path / "r", scores=((7, 6),))).split("\n")
    assert lines[0] == "Scores in per cent after step 7."
    assert lines[2].split()[:5] == ["task", "cluster", "metric", "score", "chance"]


def test_three_evaluations_show_the_noise_of_each_task_beside_its_score(tmp_path):
    folder = make_run(tmp_path / "r", scores=((0, 2), (50, 4), (100, 6), (150, 5), (200, 6), (250, 7)))
    table = results_table(folder)
    lines = table.split("\n")
    at = next(index for index, line in enumerate(lines) if line.startswith("Noise: "))
    assert "over the last 3 of 6 evaluations" in lines[at]
    assert max(map(len, lines)) <= 100
    rows = {line.split()[0]: line.split() for line in lines[at + 3 :] if line}
    values = [0.25, 0.5, 0.75, 0.625, 0.75, 0.875]
    deviation = statistics.stdev(values[3:])
    ratio = 0.625 / statistics.mean(values) / (deviation / statistics.mean(values[3:]))
    assert rows["topic"][1:] == ["87.5", f"{100 * deviation:.2f}", f"{ratio:.1f}", "2.5"]
    assert "mean of held_in" in table
    path = folder / "eval" / "50" / "results.json"
    content = json.loads(path.read_text())
    content["settings"] = {"held_in": {"max_examples": 3}}
    path.write_text(json.dumps(content))
    assert set(suite_noise(read_run(folder), "held_in")) == {"", "topic", "write"}
    assert suite_noise(read_run(folder), "held_in")["topic"].scores == 5  # measured with other settings: left out


def test_no_results_give_no_table(tmp_path):
    assert results_table(tmp_path) == ""
    with pytest.raises(UserError, match="There is no run folder"):
        results_table(tmp_path / "nothing")


@given(st.lists(st.tuples(st.text("ab ", max_size=9), st.integers(0, 10**6).map(str)), max_size=6))
def test_text_tables_align_numbers_to_the_right(rows):
    lines = text_table(["name", "count"], rows).split("\n")
    assert len(lines) == len(rows) + 1
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[-1] for line in lines[1:]] == [count for _, count in rows]


def test_shares_are_weighted_by_loss_tokens(tmp_path):
    folder = make_run(tmp_path / "r")
    lines = [
        {"step": 1, "loss": 1.0, "weight": 300.0, "task_share": {"topic": 1.0}, "task_loss": {"topic": 2.0}},
        {"step": 2, "loss": 1.0, "weight": 100.0, "task_share": {"write": 1.0}, "task_loss": {"write": 3.0}},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    topic, write = read_run(folder).mixture_rows()
    assert (topic.asked, topic.loss_tokens, topic.last_loss) == (0.75, 0.75, 2.0)
    assert (write.asked, write.loss_tokens, write.first_loss) == (0.25, 0.25, 3.0)
    assert (topic.drawn, topic.examples, topic.epochs, topic.size) == (None, None, None, 1200)
    assert read_run(folder).sampled() == {}


def test_what_was_asked_for_is_that_of_the_steps_taken_and_stands_beside_what_was_drawn(tmp_path):
    """Weights 3 to 1 in the manifest; a curriculum and new weights made it 1 to 3 of the 80 examples drawn."""
    folder = make_run(tmp_path / "r")
    drawn = {
        "topic": {
            "examples": 18,
            "tokens": 900,
            "epochs": 0.015,
            "requested": 0.25,
            "share": 0.225,
            "token_share": 0.9,
        },
        "write": {"examples": 62, "tokens": 100, "epochs": 1.24, "requested": 0.75, "share": 0.775, "token_share": 0.1},
    }
    early = {name: {**row, "requested": 0.5} for name, row in drawn.items()}
    lines = [
        {"step": step, "loss": 1.0, "weight": 100.0, "task_share": {"topic": 0.9, "write": 0.1}, "sampled": sampled}
        for step, sampled in ((1, early), (2, drawn))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write, topic = read_run(folder).mixture_rows()
    assert (topic.asked, topic.drawn, topic.examples, topic.epochs) == (0.25, 0.225, 18, 0.015)
    assert (write.asked, write.drawn, write.examples, write.epochs) == (0.75, 0.775, 62, 1.24)
    assert topic.loss_tokens == pytest.approx(0.9)


def test_other_metrics_stand_below_their_task_in_the_table(tmp_path):
    folder = make_run(tmp_path / "r")
    for step, value in ((0, 0.125), (100, 0.625)):
        path = folder / "eval" / str(step) / "results.json"
        content = json.loads(path.read_text())
        content["suites"]["held_out"][0]["metrics"] = {"f1_of:yes": value}
        path.write_text(json.dumps(content))
    rows = [line.split() for line in results_table(folder).split("\n")]
    at = next(index for index, row in enumerate(rows) if row[:1] == ["rte"])
    assert rows[at + 1] == ["f1_of:yes", "12.5", "62.5"]
