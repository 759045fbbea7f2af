"""Tasks and mixtures from instruction data."""

import json
import pickle

import pytest

from flan_jax.data.instructions import instruction_source, instruction_task, is_path, mixture_of_path, tasks_in
from flan_jax.data.instructions.task import TEMPLATES, to_identifier
from flan_jax.data.sources import base as sources
from flan_jax.data.sources.generated import generated
from flan_jax.errors import UserError
from flan_jax.tasks.render import render, render_split, render_stream
from flan_jax.tasks.spec import Prompted, PromptMode
from flan_jax.tasks.template_lint import review
from flan_jax.testing.records import good_records, without_errors

HOSTILE = "{answer} {{7*7}} {__class__} {instruction} {options} %s ${x} { }"


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def alpaca(number, input=""):
    return {"instruction": f"Do {number}.", "input": input, "output": f"Done {number}."}


def dumped(number, task="sums", source="Flan2021", kind="zs_opt"):
    names = {"task_source": source, "task_name": task, "template_type": kind}
    return {"inputs": f"{task} {number} =", "targets": str(number), **names}


@pytest.fixture
def spec(tmp_path):
    return instruction_task("own", instruction_source(write(tmp_path / "d.jsonl", [alpaca(n) for n in range(20)])))


def test_the_ten_templates_stand_review(spec):
    assert len(TEMPLATES) == 10
    assert review(spec) == []
    assert (spec.cluster, spec.metric, spec.predict) == ("instructions", "rougeL", "generate")


@pytest.mark.parametrize("template_id", range(10))
def test_a_template_reads_well_with_an_input_and_without(spec, template_id):
    record = {"instruction": "\nShout it. ", "input": "quiet words", "output": ["LOUD", "Loud"]}
    shown = render(Prompted(spec), record, index=0, template_id=template_id)
    assert shown.targets == "LOUD"
    assert shown.references == ("LOUD", "Loud")
    assert shown.inputs.count("Shout it.") == shown.inputs.count("quiet words") == 1
    bare = render(Prompted(spec), {**record, "input": " "}, index=0, template_id=template_id)
    assert "quiet words" not in bare.inputs
    assert not any(label in bare.inputs for label in ("Input:", "Text:", "Context:", "Material:", "given"))
    assert "  " not in bare.inputs
    assert "\n\n\n" not in bare.inputs
    # Where line ends are dropped, the input still stands behind a word of its own.
    before = " ".join(shown.inputs.split()).partition("quiet words")[0]
    assert before.endswith(": ")


def test_text_that_looks_like_a_template_is_text(spec):
    record = {"instruction": HOSTILE, "input": HOSTILE, "output": HOSTILE}
    for mode in (PromptMode.ZS_OPT, PromptMode.ZS_NOOPT, PromptMode.NO_TEMPLATE):
        shown = render(Prompted(spec, mode), record, index=0)
        assert shown.inputs.count(HOSTILE) == 2
        assert shown.targets == HOSTILE


def test_few_shot_prompts_show_solved_examples(spec):
    shown = next(iter(render_split(Prompted(spec, PromptMode.FS_NOOPT), "train")))
    assert len(shown.exemplars) > 1
    assert shown.inputs.count("Done") == len(shown.exemplars)


def test_an_instruction_that_is_only_an_input_is_its_instruction(spec):
    shown = render(Prompted(spec), {"instruction": "", "input": "Say hi.", "output": "Hi"}, index=0, template_id=1)
    assert shown.inputs == "Instruction: Say hi.\n\nResponse:"
    for record in ({"instruction": "", "input": "", "output": "x"}, {"instruction": "x", "input": "", "output": [" "]}):
        with pytest.raises(UserError, match="is empty"):
            render(Prompted(spec), record, index=0)


def test_unreadable_records_keep_the_order_of_the_rest(tmp_path):
    path = write(tmp_path / "d.jsonl", [alpaca(n) for n in range(20)])
    whole = instruction_task("own", instruction_source(path, max_validation=0))
    before = [shown.template_id for shown in render_split(Prompted(whole), "train")]
    path.write_text(path.read_text().replace('"Done 7."', "7"))
    told = []
    after = list(without_errors(render_stream(Prompted(whole), "train"), told))
    assert [shown.example_id for shown in after] == [n for n in range(20) if n != 7]
    assert [shown.template_id for shown in after] == [before[n] for n in range(20) if n != 7]
    assert "line 8" in str(told[0])


def test_other_sources_of_instruction_records_serve_too():
    source = generated("own", lambda split: [alpaca(n) for n in range(3)], 1, splits=("train",))
    spec = instruction_task("own", source, "mine", title="Mine")
    assert (spec.cluster, spec.title) == ("mine", "Mine")
    assert len(list(render_split(Prompted(spec), "train"))) == 3


def test_conversations_become_replies(tmp_path):
    talk = [{"from": who, "value": f"{who} {n} {HOSTILE}"} for n in range(2) for who in ("human", "gpt")]
    path = write(tmp_path / "d.jsonl", [{"id": "1", "conversations": talk}])
    spec = instruction_task("chats", path)
    shown = list(render_split(Prompted(spec), "train"))
    assert spec.cluster == "dialogue"
    assert len(shown) == 2
    assert "human 1 " + HOSTILE in shown[1].inputs


def test_prompts_in_words_are_shown_as_they_are(tmp_path):
    path = write(
        tmp_path / "d.jsonl", [{"prompt": HOSTILE + "\n", "response": HOSTILE}, {"prompt": " ", "response": "x"}]
    )
    spec = instruction_task("rendered", instruction_source(path, max_validation=0))
    (shown,) = render_split(Prompted(spec), "train")
    assert (shown.inputs, shown.targets) == (HOSTILE, HOSTILE)


def test_a_dump_gives_a_task_for_each_that_it_names(tmp_path):
    records = [dumped(n, "sums" if n % 2 else "glue/mrpc:2.0.0", "Flan2021" if n % 2 else "P3") for n in range(60)]
    records += [dumped(n, "sums", kind="fs_noopt") for n in range(60, 65)]
    path = write(tmp_path / "d.jsonl", records)
    path.write_text(path.read_text() + "{\n")
    specs = tasks_in(path)
    assert [(spec.name, spec.cluster) for spec in specs] == [("glue_mrpc_2_0_0", "p3"), ("sums", "flan2021")]
    assert [spec.title for spec in specs] == ["glue/mrpc:2.0.0 (zs_opt)", "sums (zs_opt, fs_noopt)"]
    told = []
    sizes = {}
    for spec in specs:
        for split in ("train", "validation"):
            found = list(good_records(spec.source, split, told))
            assert {record["task_name"] for record in found} == {spec.title.partition(" (")[0]}
            sizes[spec.name, split] = len(found)
    assert len(told) == 1  # by one of them
    assert sizes == {("glue_mrpc_2_0_0", "train"): 27, ("glue_mrpc_2_0_0", "validation"): 3, ("sums", "train"): 32, ("sums", "validation"): 3}  # fmt: skip
    assert specs[0].source.count("train") == 28  # and the unreadable one
    assert specs[1].source.count("train") == 32
    assert specs[0].source.fingerprint("train") != specs[1].source.fingerprint("train")


def test_task_names_that_differ_in_marks_alone_stay_apart(tmp_path):
    path = write(tmp_path / "d.jsonl", [dumped(n, ("a b", "a-b")[n % 2]) for n in range(10)])
    assert [spec.name for spec in tasks_in(path)] == ["a_b", "a_b_2"]
    assert to_identifier("3 pigs!") == "_3_pigs"
    assert to_identifier("日本") == "data"


def test_a_path_is_a_mixture(tmp_path):
    write(tmp_path / "all/alpaca.jsonl", [alpaca(n) for n in range(20)])
    write(tmp_path / "all/sums.jsonl", [dumped(n) for n in range(20)])
    write(tmp_path / "all/tiny.jsonl", [alpaca(1)])
    sources.set_data_dir(tmp_path)
    mixture = mixture_of_path("all")
    assert mixture.name == "all"
    assert [entry.task.name.removesuffix("_zs_opt") for entry in mixture.entries] == ["alpaca", "sums", "tiny"]
    (suite,) = mixture.suites
    assert (suite.name, suite.split, len(suite.tasks)) == ("held_in", "validation", 2)
    assert is_path("all/alpaca.jsonl")
    assert not is_path("all")  # the name of a mixture, as a rule
    assert not is_path("no/such.jsonl")


def test_two_files_with_a_task_of_one_name_are_two_tasks(tmp_path):
    write(tmp_path / "a.jsonl", [dumped(n) for n in range(4)])
    write(tmp_path / "b.jsonl", [dumped(n, kind="fs_opt") for n in range(4)])
    assert [entry.task.spec.name for entry in mixture_of_path(tmp_path).entries] == ["sums", "sums_2"]


def test_a_folder_of_splits_is_one_task_with_a_test_suite(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / f"own-data/{split}.jsonl", [alpaca(n) for n in range(20)])
    mixture = mixture_of_path(tmp_path / "own-data")
    assert [entry.task.spec.name for entry in mixture.entries] == ["own_data"]
    assert [(suite.name, suite.split) for suite in mixture.suites] == [("held_in", "validation"), ("test", "test")]
    (tmp_path / "own-data/train.jsonl").unlink()
    with pytest.raises(UserError, match="has nothing to train on"):
        mixture_of_path(tmp_path / "own-data")


def test_nothing_there_is_told(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        mixture_of_path(tmp_path / "none.jsonl")


def test_a_task_travels_to_another_process(spec):
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert list(again.source.records("train")) == list(spec.source.records("train"))
