"""Mistakes through the command line: one clear sentence each, exit code 2, nothing half-written."""

import json
import logging

import pytest

from flan_jax.cli.main import main

LENGTHS = "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}"


def own_run(folder, *, mixture="own_mixture"):
    return [
        "train", "--module_import", "own_tasks", "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin",
        f"--gin.MODEL_DIR={folder}", f"--gin.MIXTURE_OR_TASK_NAME={mixture}", LENGTHS, "--gin.TRAIN_STEPS=1",
        "--gin.BATCH_SIZE=8", "--gin.LOG_PERIOD=1", "--gin.T5Config.d_model=16", "--gin.T5Config.d_ff=16",
        "--gin.T5Config.num_encoder_layers=1", "--gin.T5Config.num_decoder_layers=1", "--gin.EvalConfig.suites=()",
    ]  # fmt: skip


def test_unknown_command(refused):
    assert "Did you mean 'train'" in refused("trian")


def test_unknown_option(refused):
    assert "--modle_dir" in refused("quickstart", "--modle_dir", "x")


@pytest.mark.parametrize(
    "command", [["inspect", "who_didit"], ["rates", "mni"], ["prepare", "--mixture", "mni", "--store", "s"]]
)
def test_unknown_mixture_or_task(refused, command):
    assert "Did you mean" in refused(*command)


def test_unknown_cluster(refused):
    assert "Did you mean 'sentiment'" in refused("tasks", "--cluster", "sentimnt")


def test_unknown_mode_and_split(refused):
    assert "Did you mean 'zs_noopt'" in refused("inspect", "pronoun", "--mode", "zs_noop")
    assert "Did you mean 'train'" in refused("inspect", "pronoun", "--split", "trian")


def test_unknown_module(refused):
    assert "no_such_module" in refused("tasks", "--module_import", "no_such_module")


def test_template_with_an_unknown_slot(refused, module, own_tasks):
    message = refused("tasks", "--module_import", module(own_tasks.replace("Is {number} even", "Is {nmber} even")))
    assert "own_parity" in message
    assert "template 0" in message
    assert "Did you mean 'number'" in message


def test_answer_outside_the_options(refused, module, tmp_path, own_tasks):
    module(own_tasks.replace('("even", "odd")[i % 2]', '("even", "old")[i % 2]'))
    message = refused(
        "prepare", "--module_import", "own_tasks", "--mixture", "own_mixture", "--store", str(tmp_path / "s")
    )
    assert "record 1" in message
    assert "'old'" in message
    assert "own_parity" in message


def test_empty_task(refused, module, tmp_path, own_tasks):
    module(own_tasks.replace("range(24)", "range(24 if split != 'train' else 0)"))
    message = refused(
        "prepare", "--module_import", "own_tasks", "--mixture", "own_mixture", "--store", str(tmp_path / "s")
    )
    assert "own_parity" in message
    assert "train" in message


@pytest.mark.parametrize("rate", ["-1.0", "float('nan')", "0.0"])
def test_bad_weights(refused, module, rate, own_tasks):
    module(
        own_tasks.replace("Entry(Prompted(PARITY)),", f"Entry(Prompted(PARITY), rate={rate}),").replace(
            "Entry(Prompted(PARITY, PromptMode.ZS_NOOPT))", f"Entry(Prompted(PARITY, PromptMode.ZS_NOOPT), rate={rate})"
        )
    )
    message = refused("rates", "own_mixture", "--module_import", "own_tasks")
    assert "rate" in message or "weight" in message


def test_held_out_cluster_in_training(refused, module, own_tasks):
    module(
        own_tasks.replace('Suite("held_in", (Prompted(PARITY),))', 'Suite("out", (Prompted(PARITY),), held_out=True)')
    )
    assert "'own_numbers' is trained on" in refused("rates", "own_mixture", "--module_import", "own_tasks")


def test_missing_data_folder(refused, tmp_path):
    message = refused(
        "train", "--gin_file", "runs/superni.gin", f"--gin.DATA_DIR={tmp_path}/nowhere", "--gin.VOCABULARY=bytes",
        f"--gin.MODEL_DIR={tmp_path}/run",
    )  # fmt: skip
    assert "nowhere" in message
    assert "DATA_DIR" in message
    assert not (tmp_path / "run").exists()


def test_missing_vocabulary(refused, tmp_path):
    message = refused("inspect", "pronoun", "--vocabulary", str(tmp_path / "none.model"))
    assert "none.model" in message


def test_store_prepared_otherwise(refused, cli, module, tmp_path, own_tasks):
    module(own_tasks)
    store = tmp_path / "store"
    prepared = cli(
        "prepare", "--module_import", "own_tasks", "--mixture", "own_mixture", "--store", str(store), "--inputs", "64",
        "--targets", "16",
    )  # fmt: skip
    assert prepared.code == 0, prepared.err
    cached = [*own_run(tmp_path / "run"), f"--gin.STORE={store}", "--gin.USE_CACHED_TASKS=True"]

    message = refused(*cached, "--gin.VOCABULARY=mini")
    assert "vocabulary" in message
    assert "flan-jax prepare" in message

    module(own_tasks.replace("Is {number} even or odd?", "Even or odd: {number}?"))
    message = refused(*cached)
    assert "templates" in message
    assert not (tmp_path / "run" / "checkpoints").exists() or not list((tmp_path / "run" / "checkpoints").iterdir())


def test_places_that_cannot_be_written(refused, module, own_tasks, tmp_path):
    module(own_tasks)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.gin").touch()
    below = str(tmp_path / "file" / "below")
    prepare = ("prepare", "--module_import", "own_tasks", "--mixture", "own_mixture", "--store", below)
    assert "cannot be written to" in refused(*prepare)
    assert "cannot be written" in refused("report", str(tmp_path / "run"), "--output", f"{below}/page.html")
    assert "cannot be made" in refused(*own_run(below), f"--gin.STORE={tmp_path}/store")


def test_store_without_the_task(refused, module, tmp_path, own_tasks):
    module(own_tasks)
    message = refused(*own_run(tmp_path / "run"), f"--gin.STORE={tmp_path}/empty", "--gin.USE_CACHED_TASKS=True")
    assert "own_parity_zs_opt" in message
    assert "flan-jax prepare" in message


def test_model_dir_of_another_run(refused, cli, module, tmp_path, own_tasks):
    module(own_tasks)
    arguments = own_run(tmp_path / "run")
    first = cli(*arguments)
    assert first.code == 0, first.err
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    message = refused(*arguments, "--gin.LEARNING_RATE=0.5")
    assert "learning_rate" in message
    assert "MODEL_DIR" in message
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before
    # Changed data under the same configuration is refused as well.
    module(own_tasks.replace("Is {number} even or odd?", "Even or odd: {number}?"))
    assert "other data" in refused(*arguments)


def test_model_dir_that_is_a_file(refused, module, tmp_path, own_tasks):
    module(own_tasks)
    (tmp_path / "run").write_text("x", encoding="utf-8")
    assert "is a file" in refused(*own_run(tmp_path / "run"))


@pytest.mark.parametrize("command", [["eval"], ["generate", "hello"], ["report"]])
def test_a_folder_that_is_no_run(refused, tmp_path, command):
    name, *rest = command
    option = [] if name == "report" else ["--model_dir"]
    said = "There is no folder" if name == "report" else "no run folder"  # it may be a study's
    assert said in refused(name, *option, str(tmp_path / "none"), *rest)


def test_initial_checkpoint_that_is_not_there(refused, module, tmp_path, own_tasks):
    module(own_tasks)
    message = refused(*own_run(tmp_path / "run"), "--gin.INITIAL_CHECKPOINT_PATH=google/t5-v1_1-small")
    assert "google/t5-v1_1-small" in message


def test_gin_bindings_where_none_are_taken(refused):
    assert "takes no --gin.A" in refused("tasks", "--gin.A=1")


def test_json_output_is_json(cli):
    rows = json.loads(cli("tasks", "--cluster", "sentiment", "--json").out)["tasks"]
    assert {"review_sentiment", "message_mood"} <= {row["task"] for row in rows}
    assert {row["cluster"] for row in rows} == {"sentiment"}
    assert json.loads(cli("rates", "mini", "--json").out)["mixture"] == "mini"


def test_names_of_tables_papers_and_capitals(refused, monkeypatch):
    # Where another test has loaded seqio, our prompts are tasks of its registry too.
    monkeypatch.setattr("flan_jax.experiments.mixture.registered_names", lambda: ())
    assert "--mode zs_noopt" in refused("inspect", "snli_zs_noopt")
    assert "cot_gsm8k --mode cot_zs_opt" in refused("inspect", "cot_gsm8k_cot_zs_opt")
    assert "flan-jax tasks --cluster entailment" in refused("inspect", "entailment")
    assert "Did you mean 'snli'?" in refused("rates", "SNLI")


def test_every_mode_is_listed(refused):
    assert "zs_opt" in refused("inspect", "snli", "--mode", "few shots")


def test_a_file_of_the_working_folder_beside_a_data_folder(refused, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "mine.jsonl").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    for command in (["inspect", "mine.jsonl"], ["rates", "./mine.jsonl"], ["data", "mine.jsonl"]):
        assert str(tmp_path / "mine.jsonl") in refused(*command, "--data_dir", str(tmp_path / "data"))


def test_a_data_folder_that_is_not_there_is_not_an_empty_one(refused, tmp_path):
    (tmp_path / "copies" / "rte").mkdir(parents=True)
    (tmp_path / "copies" / "rte" / "train.jsonl").write_text("{}\n")
    folders = ("--data_dir", str(tmp_path / "dta"), "--source_dir", str(tmp_path / "copies"))
    assert "dta', which is not a folder" in refused("rates", "flan_local", *folders)


@pytest.mark.parametrize(
    "binding", ["TASK_FEATURE_LENGTHS=512", "TASK_FEATURE_LENGTHS=[('inputs', 64)]", "HOLD_OUT=(5,)"]
)
def test_values_of_another_kind(refused, module, own_tasks, tmp_path, binding):
    module(own_tasks)
    assert binding.split("=")[0] in refused(*own_run(tmp_path / "run"), f"--gin.{binding}")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_run_gets_no_page(refused, tmp_path):
    (tmp_path / "records.bin").touch()
    assert "not the folder of a run" in refused("report", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["records.bin"]


def test_a_warning_is_printed_once_and_as_it_is_worded(monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert main([]) == 0
    for text in ("3 of 5 are there", "3 of 5 are there", "4 of 5 are there"):
        logging.getLogger("flan_jax.data.collections.superni").warning(text)
    logging.warning("from a library that sets logging up when it first logs")
    assert capsys.readouterr().err.splitlines() == [
        "3 of 5 are there",
        "4 of 5 are there",
        "from a library that sets logging up when it first logs",
    ]
