"""import-hf and export-hf on the command line."""

import json

import pytest

from flan_jax.models.huggingface import writer
from flan_jax.testing.models import random_params, tiny_t5


@pytest.fixture
def source(tmp_path):
    writer.save(tmp_path / "source", tiny_t5(), random_params(tiny_t5()))
    return tmp_path / "source"


def test_in_and_out(cli, source, tmp_path):
    done = cli("import-hf", str(source), str(tmp_path / "imported"))
    assert done.code == 0
    assert "16,640 parameters" in done.out
    assert f"--gin.INITIAL_CHECKPOINT_PATH={tmp_path / 'imported'}" in done.out
    assert "comparing the logits" in done.err
    done = cli(
        "export-hf",
        str(tmp_path / "imported"),
        str(tmp_path / "out"),
        "--dtype",
        "bfloat16",
        "--max_shard_size",
        "20KB",
    )
    assert done.code == 0
    assert "as a t5 in bfloat16 (2 files)" in done.out
    assert "No tokenizer was written" in done.out


def test_json_is_all_that_is_printed(cli, source, tmp_path):
    done = cli("import-hf", "--json", str(source), str(tmp_path / "imported"))
    assert json.loads(done.out)["checked"] == "logits"
    assert done.err == ""
    done = cli("export-hf", "--json", str(tmp_path / "imported"), str(tmp_path / "out"))
    assert json.loads(done.out)["files"] == ["model.safetensors"]
    assert done.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import-hf", "NOWHERE", "new"), "There is no folder"),
        (("import-hf", "SOURCE", "SOURCE"), "exists"),
        (("export-hf", "SOURCE", "new"), "has no folder `checkpoints`"),
        (("export-hf", "SOURCE", "new", "--max_shard_size", "much"), "'much' is no size"),
        (("export-hf", "SOURCE", "new", "--dtype", "int8"), "Unknown dtype 'int8'"),
    ],
)
def test_mistakes_are_a_sentence(cli, source, tmp_path, arguments, message):
    where = {"NOWHERE": tmp_path / "none", "SOURCE": source, "new": tmp_path / "new"}
    done = cli(*(str(where.get(argument, argument)) for argument in arguments))
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
