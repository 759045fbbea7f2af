"""Options by the names of earlier versions: read where a run wrote them down, refused where a user writes them."""

import json

import pytest

from flan_jax.cli import gin_config
from flan_jax.errors import UserError
from flan_jax.experiments.run_dir import earlier_tables

FILES = ["runs/quickstart.gin"]


def test_an_old_name_is_refused_with_the_new_one():
    with pytest.raises(UserError, match=r"--gin.run.lesson_steps=3: run.lesson_steps is called run.curriculum_steps"):
        gin_config.load(FILES, ["run.lesson_steps=3"])


def test_the_file_of_a_run_is_read_by_old_names(tmp_path):
    own = tmp_path / "config.gin"
    own.write_text("include 'runs/quickstart.gin'\nrun.lesson_steps = 7\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"config.gin, line 2: run.lesson_steps is called run.curriculum_steps now"):
        gin_config.load([str(own)])
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")  # a run's, by what lies beside it
    assert gin_config.load([str(own)]).config.feed.curriculum_steps == 7


def test_tables_of_a_manifest_are_read_by_old_names(tmp_path):
    def table(column: str) -> dict:
        return {"a": {"fingerprint": "f", "weight": 0.5, column: 1.0}}

    manifest = {"config": {}, "tasks": table("lesson"), "changes": [{"step": 1, "before": table("lesson")}]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert earlier_tables(tmp_path) == [table("curriculum"), table("curriculum")]
