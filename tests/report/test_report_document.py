import dataclasses
import json
import time

import numpy as np
import pytest
from report_toys import EVIL, Scripted, make_run, suites

from flan_jax.cli.main import main
from flan_jax.eval.examples import Prediction
from flan_jax.eval.results import merge_results, read_predictions, write_results
from flan_jax.eval.statistics.intervals import bonett_price
from flan_jax.eval.suites import evaluate_suites
from flan_jax.report.document import report_document
from flan_jax.report.examples import MOST_OF_A_TASK
from flan_jax.report.predictions import MOST_LABELS, read_task_predictions
from flan_jax.report.run import read_run


def edit_results(folder, step, change):
    path = folder / "eval" / str(step) / "results.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def suite(document, name, run=0):
    return next(s for s in document["runs"][run]["suites"] if s["name"] == name)


def task(document, name, run=0):
    return next(t for s in document["runs"][run]["suites"] for t in s["tasks"] if t["name"] == name)


def test_the_headline_is_the_held_out_average_with_its_change_since_the_base(tmp_path):
    headline = report_document([make_run(tmp_path / "r")])["runs"][0]["headline"]
    assert (headline["name"], headline["held_out"]) == ("held_out", True)
    assert headline["average"]["value"] == 1.0
    assert headline["before"]["value"] == pytest.approx(1 / 3)
    # 2 of 6 were right, then all: four were won and none was lost.
    assert headline["delta"]["value"] == pytest.approx(2 / 3)
    low, high = headline["delta"]["interval"]
    assert (low, high) == pytest.approx(bonett_price(4, 0, 6))
    assert 0 < low < 2 / 3 < high <= 1


def test_without_held_out_clusters_the_first_average_stands_on_top(tmp_path):
    folder = make_run(tmp_path / "r", scores=((7, 6),))
    (folder / "manifest.json").unlink()
    headline = report_document([folder])["runs"][0]["headline"]
    assert (headline["name"], headline["held_out"], headline["delta"]) == ("held_in", False, None)


def test_a_suite_that_is_asked_otherwise_is_held_out_as_its_results_say(tmp_path):
    folder = make_run(tmp_path / "run")
    asked = {"held_in_5shot": suites()["held_in"], "held_out_5shot": suites()["held_out"]}
    results = dataclasses.replace(evaluate_suites(Scripted(3), asked, step=100), held_out=("held_out_5shot",))
    write_results(folder, merge_results(folder, results))
    document = report_document([folder])
    held = {own["name"]: own["held_out"] for own in document["runs"][0]["suites"]}
    assert held == {"held_in": False, "held_out": True, "held_in_5shot": False, "held_out_5shot": True}
    # Measured again without, they are not driven out.
    write_results(folder, merge_results(folder, evaluate_suites(Scripted(3), suites(), step=100)))
    assert suite(report_document([folder]), "held_out_5shot")["held_out"]


def test_a_change_of_other_examples_or_of_another_metric_has_no_interval(tmp_path):
    folder = make_run(tmp_path / "r")
    whole = task(report_document([folder]), "topic")["delta"]
    assert whole["interval"] is not None
    path = folder / "eval" / "0" / "predictions" / "topic.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[1:]) + "\n")
    document = report_document([folder])
    assert task(document, "topic")["delta"] == {**whole, "interval": None}
    assert suite(document, "held_in")["delta"]["interval"] is None
    assert suite(document, "held_out")["delta"]["interval"] is not None
    # A corpus metric is no mean of what examples score.
    edit_results(folder, 100, lambda content: content["suites"]["held_out"][0].update(value=0.5))
    assert task(report_document([folder]), "rte")["delta"]["interval"] is None


def test_examples_have_the_answers_of_every_evaluation_and_say_how_many_there_are(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", scores=((50, 4),))
    document = report_document([first, second])
    assert [(s["run"], s["step"]) for s in document["sources"]] == [(0, 0), (0, 100), (1, 50)]
    topic = document["examples"]["topic"]
    assert (topic["total"], topic["shown"]) == (8, 8)
    row = topic["rows"][4]
    assert (row["example"], row["template"], row["references"]) == (4, 0, [f"no {EVIL}"])
    assert [answer["score"] for answer in row["answers"]] == [0.0, 1.0, 0.0]
    assert row["answers"][1]["option_scores"] == [0.0, 1.0]


def many_predictions(folder, count):
    rows = (
        {
            "example_id": i // 10,
            "template_id": i % 10,
            "inputs": f"prompt {i} " + "words " * 30,
            "options": ["yes", "no"],
            "references": ["yes"],
            "prediction": "yes" if i % 4 else "no",
            "option_scores": [-1.0, -2.0],
            "score": float(i % 4 > 0),
        }
        for i in range(count)
    )
    path = folder / "eval" / "100" / "predictions" / "topic.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_of_many_predictions_a_fixed_choice_is_embedded(tmp_path):
    folder = make_run(tmp_path / "r")
    many_predictions(folder, 30_000)
    began = time.process_time()  # of this process: others may have the machine
    document = report_document([folder])
    assert time.process_time() - began < 10
    topic = document["examples"]["topic"]
    assert topic["total"] == 30_000
    assert topic["shown"] == len(topic["rows"]) == MOST_OF_A_TASK
    assert topic == report_document([folder])["examples"]["topic"]
    assert len(json.dumps(document)) < 2e6
    # The choice does not look at the score: its proportion of right answers is that of all.
    right = np.mean([row["answers"][1]["score"] for row in topic["rows"]])
    assert right == pytest.approx(0.75, abs=0.08)
    assert document["runs"][0]["confusion"]["topic"]["counts"] == [[22_500, 7_500], [0, 0]]


def test_the_choice_is_the_same_in_two_evaluations_of_the_same_examples(tmp_path):
    folder = make_run(tmp_path / "r")
    before, after = (read_task_predictions(read_run(folder), step, "topic", 3) for step in (0, 100))
    assert [(p.example_id, p.template_id) for p in before.sample] == [
        (p.example_id, p.template_id) for p in after.sample
    ]
    assert before.total == 8
    everything = [p.example_id for p in read_predictions(folder, 0, "topic")]
    assert {p.example_id for p in before.sample} < set(everything)


def test_a_confusion_matrix_counts_wanted_against_answered(tmp_path):
    document = report_document([make_run(tmp_path / "r")])
    confusion = document["runs"][0]["confusion"]
    assert set(confusion) == {"topic", "rte"}  # "write" is generated
    # Of eight, examples 0 and 4 want "no"; six are right, and the last two want "yes".
    assert confusion["topic"] == {"labels": ["yes", f"no {EVIL}"], "counts": [[4, 2], [0, 2]]}


def test_options_that_differ_from_example_to_example_have_no_matrix(tmp_path):
    folder = make_run(tmp_path / "r")
    rows = [
        Prediction(i, 0, "p", (f"a{i}", f"b{i}"), (f"a{i}",), f"a{i}", (0.0, -1.0), 1.0) for i in range(MOST_LABELS)
    ]
    path = folder / "eval" / "100" / "predictions" / "rte.jsonl"
    fields = ("example_id", "template_id", "inputs", "options", "references", "prediction", "option_scores", "score")
    path.write_text("".join(json.dumps({f: getattr(row, f) for f in fields}) + "\n" for row in rows))
    assert "rte" not in report_document([folder])["runs"][0]["confusion"]


def test_cost_is_read_from_the_folder_and_what_is_not_recorded_is_null(tmp_path):
    folder = make_run(tmp_path / "r", steps=4)
    cost = report_document([folder])["runs"][0]["cost"]
    assert (cost["steps"], cost["tokens"], cost["training_seconds"]) == (40, 2000.0, 2.0)
    assert (cost["commit"], cost["hardware"], cost["mfu"]) == (None, None, None)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line, mfu in zip(lines, (0.1, 0.5, 0.3), strict=False):
        line["speed"] = {"mfu": mfu}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert report_document([folder])["runs"][0]["cost"]["mfu"] == 0.3
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"code": {"commit": "abc", "changed": True}, "hardware": {"devices": 8, "device_kind": "TPU v4"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    cost = report_document([folder])["runs"][0]["cost"]
    assert (cost["commit"], cost["changed"], cost["hardware"]["devices"]) == ("abc", True, 8)
    assert (cost["parameters"], cost["trained_parameters"]) == (164, 164)
    # 400 of 2,000 tokens are targets, which pass the decoder and the tied head.
    assert cost["flops"] == 6 * (20 * 1600 + (100 + 40) * 400)
    (folder / "model-info.txt").unlink()
    run = report_document([folder])["runs"][0]
    assert (run["cost"]["parameters"], run["cost"]["flops"]) == (None, None)
    assert "model-info.txt is missing, so the parameters cannot be counted." in run["missing"]


def test_frozen_matrices_cost_no_gradient_of_their_own(tmp_path):
    folder = make_run(tmp_path / "r", steps=4)
    (folder / "model-info.txt").write_text(
        "layers/mlp/wi/lora_a  (1, 4, 1)  float32  4  trained\n"
        "embedding    (10, 4)    float32   40  frozen\n"
        "layers/mlp/wi  (1, 4, 25)  float32  100  frozen\n"
        "lm_head  (4, 10)  float32  40  frozen\n\nParameters in total: 184\nTrained of them: 4 (2.174%)\n"
    )
    cost = report_document([folder])["runs"][0]["cost"]
    assert (cost["parameters"], cost["trained_parameters"]) == (184, 4)
    assert cost["flops"] == (4 * 104 + 2 * 4) * 2000 + 4 * 40 * 400


def test_curves_are_overall_by_cluster_and_by_task(tmp_path):
    folder = make_run(tmp_path / "r")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tasks"]["write"]["cluster"] = "topics"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    loss = report_document([folder])["runs"][0]["loss"]
    assert loss["overall"]["steps"][:2] == [10, 20]
    assert loss["overall"]["losses"][:2] == [4.0, 2.0]
    assert loss["tasks"]["write"]["losses"] == [2.0] * 20
    assert loss["clusters"]["topics"]["losses"][0] == pytest.approx(0.6 * 3.0 + 0.4 * 2.0)


def test_published_figures_stand_only_beside_what_was_measured(tmp_path):
    folder = make_run(tmp_path / "r")
    assert report_document([folder])["published"] == []  # it has a task named rte, and nothing says which that is
    asked = {"rte": {"task": "rte", "mode": "fs_opt", "shots": 5}}
    assert report_document([make_run(folder, asked=asked, settings={"seed": 0})])["published"] == []
    make_run(folder, asked={"rte": {"task": "rte", "mode": "zs_opt"}}, settings={"seed": 0})
    (figure,) = report_document([folder])["published"]
    trained_on = make_run(
        tmp_path / "held_in", asked={"topic": {"task": "rte", "mode": "zs_opt"}}, settings={"seed": 0}
    )
    assert report_document([trained_on])["published"] == []
    assert figure["ours"] == [{"run": 0, "value": 1.0, "tasks": 1, "n": 6, "of": 18}]
    assert {"source", "differs", "values"} <= set(figure)
    edit_results(folder, 100, lambda content: content["suites"].update(mmlu=content["suites"]["held_in"]))
    mmlu = report_document([folder])["published"][0]
    assert (mmlu["title"], mmlu["ours"][0]["tasks"], mmlu["ours"][0]["of"]) == ("MMLU, direct answers", 2, None)


def test_no_number_of_the_document_is_none_that_json_has_not(tmp_path):
    folder = make_run(tmp_path / "r")
    edit_results(folder, 100, lambda content: content["suites"]["held_out"][0].update(value=None))
    text = json.dumps(report_document([folder]), allow_nan=False)
    assert '"value": null' in text


def test_the_command_prints_the_document(tmp_path, capsys):
    folder = make_run(tmp_path / "r")
    assert main(["report", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report_document([folder])
    assert not (folder / "report.html").exists()
    assert main(["report", str(folder), "--json", "--output", str(tmp_path / "x.html")]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_statistics_of_a_task_stand_beside_its_score(tmp_path):
    folder = make_run(tmp_path / "r", scores=((0, 2), (50, 4), (100, 6), (150, 5), (200, 6)))
    row = task(report_document([folder]), "topic")
    assert row["interval"] == pytest.approx(row["intervals"]["example"])
    assert row["template_quantiles"]["5"] < row["template_summary"]["mean"] < row["template_quantiles"]["95"]
    assert row["noise"]["last"] == 3
    assert row["noise"]["deviation"] == pytest.approx(np.std([0.75, 0.625, 0.75], ddof=1))
    assert task(report_document([make_run(tmp_path / "short")]), "topic")["noise"] is None
