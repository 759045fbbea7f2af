"""The guide, followed to the letter: its files are written, its commands run, its outputs looked for.

In a page, a block of JSON lines behind "`NAME`:" and a block that begins with "# NAME" are files
("# NAME, continued" goes on with one), a bash block is run, a console block is not, and a text block behind it holds lines
of what it prints. A text block that begins with "error:" says that the last command is refused.
"""

import atexit
import contextlib
import fnmatch
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from warm_commands import warm_commands

import flan_jax
import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.data.sources.published import PublishedSource
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.invert import SUFFIX
from mixtures.flan2022 import mixture as flan2022

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
BLOCK = re.compile(r"(?:`(?P<file>[\w./-]+)`:\n\n)?^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r"# (?P<file>[\w./-]+\.\w+)(?P<goes_on>, continued)?\n")


class Step(NamedTuple):
    """A block: ``kind`` is file, more (of a file), run, or prints."""

    kind: str
    file: str
    body: str


def steps(page: str) -> Iterator[Step]:
    for block in BLOCK.finditer((GUIDE / page).read_text(encoding="utf-8")):
        body, title = block["body"], TITLE.match(block["body"])
        if block["language"] == "console":  # what a user does once, to have the commands
            continue
        if block["language"] == "bash":
            yield Step("run", "", body)
        elif block["language"] == "text":
            yield Step("prints", "", body)
        elif title:
            yield Step("more" if title["goes_on"] else "file", title["file"], body)
        else:
            assert block["file"], f"{page}: this block has no file name: {body[:80]!r}"
            yield Step("file", block["file"], body)


@functools.cache
def surroundings() -> dict[str, str]:
    """The environment of the commands: a user's, in which ``flan-jax`` has its imports done."""
    # As few optimisations as XLA can do with: the runs are of a few steps, and compiling them is what takes time.
    # The Makefile says what the flags are.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLAN_JAX_", "XLA_FLAGS"))}
    environment = {
        **kept,
        "FLAN_JAX_CACHE": os.environ["FLAN_JAX_CACHE"],  # nothing is noted in the home of whoever runs this
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
        "JAX_PLATFORMS": "cpu",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "HF_HUB_OFFLINE": "1",
    }
    if sys.platform == "linux":  # elsewhere a fork may not go on with what is imported
        commands = contextlib.ExitStack()
        atexit.register(commands.close)
        warm = commands.enter_context(warm_commands(environment))
        environment["PATH"] = f"{warm}{os.pathsep}{environment['PATH']}"
    return environment


def follow(page: str, folder: Path, shorter: Mapping[str, str] = MappingProxyType({})) -> str:
    """Does what the page says, in ``folder``, with words of its blocks replaced by others; returns all that was printed."""
    environment = surroundings()
    printed = ""
    todo = list(steps(page))
    for long, short in shorter.items():
        assert any(long in step.body for step in todo), f"{page} has no {long!r}"
        todo = [step._replace(body=step.body.replace(long, short)) for step in todo]
    for number, step in enumerate(todo):
        if step.kind in ("file", "more"):
            path = folder / step.file
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8") + "\n\n" if step.kind == "more" else ""
            path.write_text(text + step.body, encoding="utf-8")
        if step.kind != "run":
            continue
        expected = todo[number + 1].body if todo[number + 1 : number + 2] and todo[number + 1].kind == "prints" else ""
        run = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", step.body],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        output = run.stdout + run.stderr
        assert run.returncode == (2 if expected.startswith("error:") else 0), f"{step.body}\n{output}"
        words = " ".join(output.split())  # the width of a column is no matter
        for line in expected.splitlines():
            assert " ".join(line.split()) in words, f"{step.body}\nprints no line with {line!r}:\n{output}"
        printed += output
    return printed


def tasks_of(folder: Path, run: str, suite: str) -> set[str]:
    """What the run measured after its fourth step."""
    path = folder / "runs" / run / "eval" / "4" / "results.json"
    return {task["task"] for task in json.loads(path.read_text(encoding="utf-8"))["suites"][suite]}


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def drawn_by(folder: Path, run: str) -> set[str]:
    """The tasks that a run has drawn examples from."""
    return set(lines_of(folder / "runs" / run / "metrics.jsonl")[-1]["sampled"])


def test_tasks_and_a_cluster_are_added_as_the_guide_says(tmp_path):
    follow("tasks.md", tmp_path)
    assert drawn_by(tmp_path, "one_task") == {"tool_for_job_zs_opt"}
    # Held out: no tools are trained on, and only tools are measured, in both directions.
    assert drawn_by(tmp_path, "no_tools") == {"trade_for_job_zs_opt", "trade_makes_zs_opt", "made_of_zs_opt"}
    measured = {"tool_for_job_zs_opt_scored", "tool_for_job_inverted_zs_opt"}
    assert tasks_of(tmp_path, "no_tools", "held_out") == measured
    audit = json.loads((tmp_path / "runs" / "no_tools" / "audit.json").read_text(encoding="utf-8"))
    assert (audit["records"], audit["held_out_records"], audit["trained_records"]) == ([], 6, 9)


def test_a_source_is_added_as_the_guide_says(tmp_path):
    follow("add_a_source.md", tmp_path)
    (manifest,) = (tmp_path / "store").glob("bird_for_meaning_zs_opt/**/manifest.json")
    assert json.loads(manifest.read_text(encoding="utf-8"))["source"] == "Glossary"


def test_own_data_is_brought_as_the_guide_says(tmp_path):
    follow("your_data.md", tmp_path)
    assert drawn_by(tmp_path, "errands") == {"errands_zs_opt"}
    assert tasks_of(tmp_path, "errands", "held_in") == {"errands_zs_opt_validation"}
    assert tasks_of(tmp_path, "errands", "test") == {"errands_zs_opt_test"}


def test_a_model_is_chosen_as_the_guide_says(tmp_path):
    follow("models.md", tmp_path)
    assert drawn_by(tmp_path, "decoder") == {"word_category_zs_opt"}
    for run in ("as_it_is", "further"):
        manifest = json.loads((tmp_path / "runs" / run / "manifest.json").read_text(encoding="utf-8"))
        assert (manifest["config"]["model"]["d_model"], manifest["vocabulary"]["name"]) == (20, "tiny_chat")


def test_a_part_is_trained_as_the_guide_says(tmp_path):
    follow("tuning.md", tmp_path)
    kinds = {kind: json.loads((tmp_path / kind / "adapter_config.json").read_text()) for kind in ("adapter", "prompt")}
    assert (kinds["adapter"]["r"], kinds["prompt"]["num_virtual_tokens"]) == (4, 5)
    assert not (tmp_path / "runs" / "refused").exists()


def test_a_metric_is_added_as_the_guide_says(tmp_path):
    follow("add_a_metric.md", tmp_path)
    (result,) = json.loads((tmp_path / "runs/birds/eval/2/results.json").read_text(encoding="utf-8"))["suites"]["birds"]
    assert result["metric"] == "same_initial"
    assert set(result["metrics"]) == {"length_agreement"}
    assert 0 <= result["interval"][0] <= result["value"] <= result["interval"][1] <= 1


def test_commands_are_launched_as_the_guide_says(tmp_path):
    follow("launch.md", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.gin"]


def test_runs_of_paper_scale_are_launched_as_the_guide_says(tmp_path):
    """What compilers of minutes say is not asked again."""
    plans = [step.body for step in steps("paper_scale.md") if step.body.startswith("flan-jax plan")]
    assert len(plans) == 5
    follow("paper_scale.md", tmp_path, {body: "true\n" for body in plans})
    assert not list(tmp_path.iterdir())


def test_a_model_family_is_added_as_the_guide_says(tmp_path):
    follow("add_a_model_family.md", tmp_path)
    fields = json.loads((tmp_path / "toy" / "config.json").read_text(encoding="utf-8"))
    assert (fields["model_type"], fields["architectures"]) == ("toy", ["ToyForCausalLM"])


def test_models_are_compared_and_planned_as_the_guide_says(tmp_path):
    follow("statistics.md", tmp_path)


def test_a_checkpoint_is_measured_as_the_guide_says(tmp_path):
    follow("evaluation.md", tmp_path)
    folder = tmp_path / "runs/moods/eval/2"
    (result,) = json.loads((folder / "results.json").read_text(encoding="utf-8"))["suites"]["moods"]
    right = [
        line["prediction"] in line["references"]
        for line in lines_of(folder / "predictions/mood_of_review_zs_opt.jsonl")
    ]
    assert result["value"] == sum(right) / len(right)
    for line in lines_of(folder / "predictions/mood_of_review_zs_opt.jsonl"):
        values = [score / len(option) for score, option in zip(line["option_scores"], line["options"], strict=True)]
        assert line["prediction"] == line["options"][values.index(max(values))]
    assert sorted(path.name for path in folder.iterdir()) == ["predictions", "results.json"]


def test_a_weighting_method_is_added_as_the_guide_says(tmp_path):
    assert "by Logarithmic(scale=1.0)" in follow("add_a_weighting_method.md", tmp_path)
    settings = json.loads((tmp_path / "runs/kinds/manifest.json").read_text(encoding="utf-8"))["config"]["weighting"]
    assert settings == {"method": "LossPower", "period": 2, "units": "task", "power": 1.0, "smoothing": 0.5}
    first, second = lines_of(tmp_path / "runs/kinds/weights.jsonl")
    assert first["weights"] != second["weights"]
    method = (tmp_path / "my_method.py").read_text(encoding="utf-8")
    assert len(method[method.index("@gin.configurable") :].splitlines()) < 60


def test_the_command_is_a_script_of_the_environment():
    """Which the commands of the pages do not start anew each time."""
    script = Path(sys.executable).parent / "flan-jax"
    shown = subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout
    assert shown == f"flan-jax {flan_jax.__version__}\n"


KINDS = {int: "number", float: "number", bool: "true or false", list: "list"}


class Read(dict):
    """A record that notes which of its columns are read."""

    def __init__(self, record):
        super().__init__({name: Read(value) if isinstance(value, dict) else value for name, value in record.items()})
        self.names: dict[str, None] = {}

    def __getitem__(self, name):
        value = super().__getitem__(name)
        self.names[name] = None
        return value

    def get(self, name, default=None):
        return self[name] if name in self else default  # noqa: SIM401  (it would call itself)

    def shown(self) -> str:
        """What was read, in the record's order."""
        return ", ".join(self._column(name) for name in self if name in self.names)

    def _column(self, name: str) -> str:
        value = super().__getitem__(name)
        if isinstance(value, Read):
            return f"`{name}`" + (f" {{{value.shown()}}}" if value.names else " (object)")
        kind = KINDS.get(type(value))
        return f"`{name}` ({kind})" if kind else f"`{name}`"


def columns_read(spec, records) -> str:
    """The columns that a task needs; where its two records are of two published copies, those of either."""
    found: dict[str, None] = {}
    for record in records:
        noted = Read(record)
        assert spec.fields(noted) is not None
        found[noted.shown()] = None
    return "; or ".join(found)


def column_tables() -> str:
    """The columns that every task with a folder of its own reads, of the made-up records in tests/mixtures."""
    examples = {
        task: records
        for file in (ROOT / "tests/mixtures/records").glob("*/*.json")
        for task, records in json.loads(file.read_text(encoding="utf-8")).items()
    }
    lines: list[str] = []
    for collection, title in (("flan2021", "Flan 2021"), ("dialog", "Dialog"), ("open", "Open tasks")):
        specs = [spec for spec in map(TASKS.get, TASKS) if spec.collection == collection]
        rows = []
        for spec in sorted(specs, key=lambda spec: (spec.cluster, spec.name)):
            source = getattr(spec.source, "dialogues", spec.source)
            if not isinstance(source, PublishedSource) or spec.name.endswith(SUFFIX):
                continue
            named = columns_read(spec, examples[spec.name])
            folders = " or ".join(f"`{folder}`" for folder in dict.fromkeys(source.folders))
            files = ", ".join(split for split in spec.source.splits if split != "validation")
            rows.append(f"| {spec.cluster} | {folders} | {named} | {files} |")
        lines += [f"## {title}", "", "| cluster | folder | columns | files |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def test_the_tables_of_columns_are_those_of_the_tasks():
    path = GUIDE / "columns.md"
    head, mark, tables = path.read_text(encoding="utf-8").partition("## Flan 2021\n")
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        path.write_text(head + column_tables(), encoding="utf-8")
        return
    assert mark + tables == column_tables()


def test_the_collections_page_names_every_mixture_and_no_other():
    page = (GUIDE / "collections.md").read_text(encoding="utf-8")
    table = page.partition("## Mixtures\n")[2].partition("\n### ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    patterns = {re.sub("[A-Z]{5,}|(?<=_)[0-9]+(?=$|templates)", "*", name) for name in named - {"9", "7", "4"}}
    patterns |= {"t0_fsopt", "t0_*noopt", "*_fsopt", "*_zsopt"}  # where the table says "and so on"
    # In a process of its own: tests register toys.
    command = "import mixtures; from flan_jax.mixing.mixture import MIXTURES; print(*MIXTURES)"
    listed = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.split()
    shipped = {name for name in listed if not name.startswith("mini")}  # the embedded worlds are no collections
    unknown = {pattern for pattern in patterns if not fnmatch.filter(shipped, pattern)}
    assert not unknown, "no such mixture"
    silent = {name for name in shipped if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    assert not silent, "not on the page"


def test_the_collections_page_has_the_weights_and_caps_of_flan_2022():
    page = (GUIDE / "collections.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    names = next(row for row in rows if row[:2] == ["", "flan2021"])[1:]
    given = {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows if len(row) == len(names) + 1}
    for row, weights in (
        ("weight, public code", flan2022.PUBLIC_CODE),
        ("proportion A", flan2022.PROPORTION_A),
        ("proportion B", flan2022.PROPORTION_B),
    ):
        assert {name: float(value) for name, value in given[row].items() if value != "–"} == weights
    caps = {name: int(value.replace(",", "")) for name, value in given["cap on a task's rate"].items()}
    assert caps == {name: flan2022.CAPS[name] for name in names}


def test_macros_that_the_t5x_page_names_are_there():
    """Of the right column: those of the left one are T5X's."""
    page = (GUIDE / "from_t5x.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([A-Z][A-Z_]{4,})`", row[1])}
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "gin").rglob("*.gin")]
    macros = {name for text in files for name in re.findall(r"^([A-Z][A-Z_]+) *=", text, re.MULTILINE)}
    assert {"TRAIN_STEPS", "MICROBATCHES"} <= named
    assert {name for name in named if not name.startswith(("MODULE", "FLAN_JAX_"))} <= macros


def test_the_commands_of_those_who_come_from_flan(tmp_path):
    assert "flan2021" in follow("from_flan.md", tmp_path)
