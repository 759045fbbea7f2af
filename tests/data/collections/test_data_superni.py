"""Super-NaturalInstructions: task files, splits, filters, encodings, the mixture and the golden renders."""

import dataclasses
import json
import logging
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.data.collections import superni
from flan_jax.data.collections.superni import (
    ENCODINGS,
    SuperNIFields,
    TaskFilter,
    category,
    label,
    metadata,
    niv2_tasks,
    superni_file,
    superni_mixture,
    superni_task,
)
from flan_jax.data.collections.superni_files import HEAD_BYTES
from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.sources import base as sources
from flan_jax.data.sources.base import FromDataFolder
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import MIXTURES, get_mixture
from flan_jax.store.store import TokenStore
from flan_jax.tasks.render import render, render_split, render_stream
from flan_jax.tasks.spec import Prompted, PromptMode, Source
from flan_jax.testing.records import good_records, without_errors

GOLDEN = Path(__file__).parents[2] / "golden/superni_renders.json"
PLURAL = "superni/tasks/task9001_plural_generation.json"
STORY = "superni/tasks/task9002_story-1.5_continuation.json"
REPEATED = "superni/tasks/task9003_repeated_question_answering.json"
HEADLINE = "superni/tasks/task9101_headline_generation.json"


def inputs_of(source, split):
    return [record["input"] for record in source.records(split)]


def test_a_training_file_is_split_once_and_for_all(fixtures):
    source = superni_file(PLURAL)
    assert isinstance(source, Source)
    assert source.splits == ("train", "validation")
    train, validation = inputs_of(source, "train"), inputs_of(source, "validation")
    assert len(train) == 11
    assert len(validation) == 1
    assert not set(train) & set(validation)
    whole = [instance["input"] for instance in json.loads((fixtures / PLURAL).read_text())["Instances"]]
    assert sorted(train + validation) == sorted(whole)
    assert train == [text for text in whole if text in train]  # the file's order
    assert (
        inputs_of(superni_file(PLURAL, seed=1), "validation") != validation
        or inputs_of(superni_file(PLURAL, seed=2), "validation") != validation
    )


def test_equal_inputs_stay_on_one_side(fixtures):
    for seed in range(20):
        source = superni_file(REPEATED, seed=seed)
        train, validation = inputs_of(source, "train"), inputs_of(source, "validation")
        assert len(train) + len(validation) == 5
        assert not set(train) & set(validation)


def test_limits_hold(fixtures):
    source = superni_file(PLURAL, max_instances=4)
    assert len(inputs_of(source, "train")) == 4
    assert inputs_of(source, "validation") == inputs_of(superni_file(PLURAL), "validation")
    for limits in ({"max_instances": 0}, {"max_validation": 0}):
        with pytest.raises(UserError, match="at least 1"):
            superni_file(PLURAL, **limits)
    with pytest.raises(UserError, match="role='dev' must be"):
        superni_file(PLURAL, role="dev")


def test_an_evaluation_file_gives_its_first_instances(fixtures):
    source = superni_file(HEADLINE, role="evaluation", max_instances=5)
    assert source.splits == ("test",)
    assert inputs_of(source, "test") == [
        f"A {a} was seen in the market on day {i}." for i, a in enumerate(["cat", "dog", "hen", "fox", "owl"])
    ]
    assert next(iter(source.records("test")))["output"] == ("Cat in the market", "Market cat")
    with pytest.raises(UserError, match=r"has no split 'train'. It has: test"):
        list(source.records("train"))


def test_instances_without_output_are_left_out_aloud(fixtures, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(inputs_of(superni_file(STORY), "train")) == 9
    assert "1 of 11 instances have no output" in caplog.text


def test_fingerprints_follow_content_and_split(fixtures, tmp_path):
    base = superni_file(PLURAL).fingerprint("train")
    copy = tmp_path / "copy.json"
    shutil.copy(fixtures / PLURAL, copy)
    assert superni_file(copy).fingerprint("train") == base
    others = {
        superni_file(PLURAL).fingerprint("validation"),
        superni_file(PLURAL, seed=1).fingerprint("train"),
        superni_file(PLURAL, max_instances=5).fingerprint("train"),
        superni_file(PLURAL, max_validation=5).fingerprint("train"),
        superni_file(STORY).fingerprint("train"),
    }
    assert len(others - {base}) == 5


GOOD = {
    "Categories": ["A B"],
    "Definition": ["Do it."],
    "Positive Examples": [],
    "Instances": [{"input": "x", "output": ["y"]}],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Definition": None}, "no 'Definition'"),
        ({"Instances": None}, "no 'Instances'"),
        ({"Definition": []}, "'Definition' must be a text"),
        ({"Instances": {}}, "must be lists"),
        ({"Instances": [{"input": "x", "output": ["y"]}, {"input": "x"}]}, r"Instances\[1\]: must be an object"),
        ({"Instances": [{"input": "x", "output": [3]}]}, r"Instances\[0\]: 'output' must be"),
        ({"Positive Examples": ["x"]}, r"Positive Examples\[0\]: must be an object"),
    ],
)
def test_a_broken_file_is_named_by_file_and_place(tmp_path, change, message):
    content = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    path = tmp_path / "task1_broken.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as error:  # a broken instance is in one of them
        [list(superni_file(path).records(split)) for split in ("validation", "train")]
    assert str(path) in str(error.value)


def test_a_file_that_is_no_json_is_named_by_line(tmp_path):
    path = tmp_path / "task1_broken.json"
    path.write_text('{"Categories": ["A"],\n "Definition": [,]}')
    with pytest.raises(UserError, match=r"task1_broken\.json, line 2: not valid JSON"):
        list(superni_file(path).records("train"))


def test_definition_and_output_may_be_plain_text(tmp_path):
    path = tmp_path / "task1_plain.json"
    path.write_text(
        json.dumps(
            {
                **GOOD,
                "Definition": "\nDo it. ",
                "Instances": [{"input": "  x ", "output": "\ny "}, {"input": "z", "output": ["y", "y"]}],
            }
        )
    )
    records = list(superni_file(path, role="evaluation").records("test"))
    assert [(r["definition"], r["input"], r["output"]) for r in records] == [
        ("Do it.", "  x", ("y",)),
        ("Do it.", "z", ("y",)),
    ]


def test_a_task_is_made_of_a_file(fixtures):
    spec = superni_task(STORY)
    assert spec.name == "task9002_story_1_5_continuation"
    assert spec.cluster == "story_composition"
    assert (spec.metric, spec.predict, spec.options, len(spec.templates)) == ("rougeL", "generate", (), 10)
    with pytest.raises(UserError, match=r"nothing\.json.*DATA_DIR"):
        superni_task("superni/tasks/nothing.json")


def test_the_category_is_found_without_reading_the_instances(tmp_path):
    path = tmp_path / "task1_large.json"
    text = json.dumps({**GOOD, "Categories": ["Fill in The Blank", "Other"]})
    path.write_text(text[: text.index('"Instances"')] + '"Instances": [' + " " * HEAD_BYTES)  # never closed
    assert category(path) == "Fill in The Blank"
    late = {"Padding": "x" * HEAD_BYTES, **GOOD}
    path.write_text(json.dumps(late))
    assert category(path) == "A B"
    path.write_text(json.dumps({**GOOD, "Categories": []}))
    with pytest.raises(UserError, match="no 'Categories'"):
        category(path)


@given(st.text(min_size=1))
def test_labels_are_identifiers(text):
    assert label(text).isidentifier()


def test_labels_read_well():
    assert [label(t) for t in ("Fill in The Blank", "Misc.", "1st")] == ["Fill_in_The_Blank", "Misc", "_1st"]


def record(examples=3, length=10):
    return {
        "id": "1",
        "input": "q" * length,
        "output": ("a", "b"),
        "definition": "d" * length,
        "positive": tuple((f"x{i}", f"y{i}") for i in range(examples)),
    }


@pytest.mark.parametrize(("num_positive", "examples", "shown"), [(2, 3, 2), (2, 1, 1), (0, 3, 0), (5, 3, 3)])
def test_so_many_examples_are_shown(num_positive, examples, shown):
    slots = SuperNIFields(num_positive)(record(examples))
    assert slots["answer"] == ("a", "b")
    for style in ("examples", "examples_qa", "examples_solved", "examples_prose"):
        assert [f"x{i}" in slots[style] and f"y{i}" in slots[style] for i in range(3)] == [i < shown for i in range(3)]


@given(st.integers(1, 200), st.integers(0, 3))
def test_examples_give_way_to_a_long_input(length, num_positive):
    slots = SuperNIFields(num_positive, max_characters=120)(record(3, length))
    shown = slots["examples"].count("Example")
    assert shown == max(0, min(num_positive, (120 - 2 * length) // 4))


def test_templates_name_every_part_in_words(fixtures):
    # T5's SentencePiece turns line ends into spaces, so each part must start with words of its own.
    spec = superni_task(PLURAL)
    first = next(iter(spec.source.records("train")))
    for template_id, template in enumerate(spec.templates):
        text = " ".join(render(Prompted(spec), first, index=0, template_id=template_id).inputs.split())
        before, after = text.split(f" {first['input']} ")
        assert before.endswith(":")
        assert after.endswith(":")
        assert "Write the plural of the noun you are given." in before
        assert before.index("duck") < before.index("ducks") < before.index("goat") < before.index("goats")
        assert "wolf" not in text
        assert template.targets == "{answer}"
    bare = superni_task(PLURAL, fields=SuperNIFields(num_positive=0))
    for template_id in range(10):
        text = render(Prompted(bare), first, index=0, template_id=template_id).inputs
        assert "duck" not in text
        assert "\n\n\n" not in text


def test_renders_are_the_golden_ones(fixtures):
    """FLAN_JAX_UPDATE_GOLDEN=1 writes them anew."""
    renders = {}
    for path, split, role in (
        (PLURAL, "train", "training"),
        (STORY, "train", "training"),
        (HEADLINE, "test", "evaluation"),
    ):
        spec = superni_task(path, role=role)
        first = next(iter(spec.source.records(split)))
        renders[spec.name] = {
            "templates": [dataclasses.asdict(render(Prompted(spec), first, index=0, template_id=i)) for i in range(10)],
            "drawn": [r.template_id for r in render_split(Prompted(spec), split)],
        }
    text = json.dumps(renders, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_mixture_holds_the_official_split_that_is_there(fixtures, caplog):
    with caplog.at_level(logging.WARNING):
        mixture = superni_mixture()
    assert [task.spec.cluster for task in mixture.train_tasks] == [
        "word_semantics",
        "story_composition",
        "question_answering",
    ]
    assert "3 of 4 train tasks" in caplog.text
    assert "1 of 2 test tasks" in caplog.text
    held_out, held_in = mixture.suites
    assert (held_out.name, held_out.split, held_out.held_out) == ("held_out", "test", True)
    assert held_out.clusters == ("title_generation",)
    assert (held_in.name, held_in.split, held_in.tasks) == ("held_in", "validation", mixture.train_tasks)
    assert {r.template_id for r in render_split(held_out.tasks[0], "test")} == {0}
    assert mixture.vocabulary == ""


def test_the_mixture_is_prepared(fixtures, tmp_path):
    mixture = superni_mixture(num_positive=0, max_test_instances=7)
    wanted = [(task, ("train", "validation")) for task in mixture.train_tasks] + [
        (mixture.suites[0].tasks[0], ("test",))
    ]
    report = prepare(
        wanted,
        PrepareConfig(ByteVocabulary(), TokenizeConfig({"inputs": 1024, "targets": 128})),
        store=TokenStore(tmp_path),
    )
    assert [split.examples for split in report.splits][-1] == 7
    assert report.truncated_inputs == report.truncated_targets == 0


def test_without_data_one_sentence_says_what_to_do(fixtures, tmp_path):
    with pytest.raises(UserError, match="num_positive=-1"):
        superni_mixture(num_positive=-1)
    sources.set_data_dir(tmp_path)
    with pytest.raises(UserError, match=r"superni.tasks.*does not exist.*DATA_DIR"):
        superni_mixture()
    (tmp_path / "superni/tasks").mkdir(parents=True)
    with pytest.raises(UserError, match=r"train_tasks\.txt.*does not exist"):
        superni_mixture()
    shutil.copytree(fixtures / "superni/splits", tmp_path / "superni/splits")
    with pytest.raises(UserError, match="none of the 4 training tasks of 'default' is in"):
        superni_mixture()
    with pytest.raises(UserError, match=r"xlingual.train_tasks\.txt"):
        superni_mixture(track="xlingual")


def test_a_category_on_both_sides_is_refused(fixtures, tmp_path):
    shutil.copytree(fixtures / "superni", tmp_path / "superni")
    tests = tmp_path / "superni/splits/default/test_tasks.txt"
    tests.write_text("task9101_headline_generation\ntask9001_plural_generation\n")
    sources.set_data_dir(tmp_path)
    with pytest.raises(UserError, match="'task9001_plural_generation' is in both lists"):
        superni_mixture()
    shutil.copy(tmp_path / PLURAL, tmp_path / "superni/tasks/task9102_not_here.json")
    tests.write_text("task9101_headline_generation\ntask9102_not_here\n")
    with pytest.raises(UserError, match="cluster 'word_semantics' is trained on"):
        superni_mixture()


def test_the_catalogue_resolves_it_only_when_asked(fixtures):
    import mixtures.superni  # noqa: F401  the registration is what is tested

    assert isinstance(MIXTURES.get("superni"), FromDataFolder)
    assert get_mixture("superni").entries[0].task.spec.fields == SuperNIFields(2)
    assert get_mixture("superni_definition").name == "superni_definition"
    assert get_mixture("superni_definition").entries[0].task.spec.fields == SuperNIFields(0)


@pytest.mark.realdata
def test_the_published_tasks(realdata: Path, tmp_path):
    sources.set_data_dir(realdata)
    mixture = get_mixture("superni")  # the held-out rule holds for the categories of the official split
    held_out = mixture.suites[0]
    assert len(mixture.entries) == 87
    assert len(held_out.tasks) == 14
    assert not set(held_out.clusters) & {task.spec.cluster for task in mixture.train_tasks}
    for task in held_out.tasks:
        assert sum(1 for _ in task.spec.source.records("test")) == 100
    vocabulary = load_vocabulary("tokenizers/google_sentencepiece/test_model.model")
    wanted = [(task, ("train", "validation")) for task in mixture.train_tasks] + [
        (task, ("test",)) for task in held_out.tasks
    ]
    store = TokenStore(tmp_path)
    report = prepare(wanted, PrepareConfig(vocabulary, TokenizeConfig({"inputs": 1024, "targets": 128})), store=store)
    assert report.written == 188
    sizes = [split.examples for split in report.splits if split.split == "train"]
    assert min(sizes) >= 40
    assert max(sizes) <= 100
    many = [store.open(task.name, "test") for task in held_out.tasks]
    assert max(len(stored.references(i)) for stored in many for i in range(len(stored))) > 1


def with_bad_instances(tmp_path, path, bad):
    """The task file with what is in ``bad`` in the place of its instances of these indices."""
    content = json.loads(path.read_text())
    for index, instance in bad.items():
        content["Instances"][index] = instance
    changed = tmp_path / path.name
    changed.write_text(json.dumps(content))
    return changed


@pytest.mark.parametrize(("path", "role", "split"), [(HEADLINE, "evaluation", "test"), (PLURAL, "training", "train")])
def test_bad_instances_are_told_of_and_keep_their_place(fixtures, tmp_path, path, role, split):
    whole = inputs_of(superni_file(path, role=role), split)
    file = with_bad_instances(tmp_path, fixtures / path, {3: {"input": "no output"}})
    source = superni_file(file, role=role)
    told = []
    seen = [record["input"] for record in good_records(source, split, told)]
    message = r"Instances\[3\]: must be an object with a text 'input' and an 'output'"
    if role == "evaluation":
        assert seen == whole[:3] + whole[4:]
        with pytest.raises(UserError, match=message):
            inputs_of(source, split)
    else:  # it is on one of the two sides
        others = []
        rest = [record["input"] for record in good_records(source, "validation", others)]
        assert len(told) + len(others) == 1
        with pytest.raises(UserError, match=message):
            inputs_of(source, split if told else "validation")
        assert len(seen) + len(rest) + 1 == len(json.loads(file.read_text())["Instances"])


def test_bad_instances_leave_the_templates_of_the_others_alone(fixtures, tmp_path):
    task = Prompted(superni_task(HEADLINE, role="evaluation"))
    file = with_bad_instances(tmp_path, fixtures / HEADLINE, {0: [], 5: {"input": "x", "output": [3]}})
    other = Prompted(superni_task(file, role="evaluation"))
    told = []
    whole = {rendered.example_id: rendered for rendered in render_split(task, "test")}
    kept = list(without_errors(render_stream(other, "test"), told))
    assert [rendered.example_id for rendered in kept] == [i for i in whole if i not in (0, 5)]
    assert all(rendered == whole[rendered.example_id] for rendered in kept)
    assert len(told) == 2


def test_records_hold_negative_examples_and_explanations(tmp_path):
    examples = {
        "Positive Examples": [
            {"input": "p1 ", "output": "q1", "explanation": "\nbecause "},
            {"input": "p2", "output": ["q2", "r2"], "explanation": None},
            {"input": "p3", "output": " "},
        ],
        "Negative Examples": [{"input": "n1", "output": "m1", "explanation": "not so"}],
    }
    path = tmp_path / "task1_examples.json"
    path.write_text(json.dumps({**GOOD, **examples}))
    record = next(iter(superni_file(path).records("train")))
    assert record["positive"] == (("p1", "q1"), ("p2", "q2"))
    assert record["positive_explanations"] == ("because", "")
    assert record["negative"] == (("n1", "m1"),)
    assert record["negative_explanations"] == ("not so",)
    for changed, message in (
        ({"Negative Examples": {}}, "Negative Examples: must be a list"),
        (
            {"Negative Examples": [{"input": "x", "output": "y", "explanation": 3}]},
            r"Negative Examples\[0\]: 'explanation' must be a text",
        ),
    ):
        path.write_text(json.dumps({**GOOD, **changed, "Padding": message}))
        with pytest.raises(UserError, match=message):
            next(iter(superni_file(path).records("train")))


def full_record():
    return {
        **record(),
        "positive_explanations": ("why0", "", "why2"),
        "negative": tuple((f"u{i}", f"v{i}") for i in range(3)),
        "negative_explanations": ("no0", "no1", "no2"),
    }


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("def", ""),
        ("def_pos", "x0 y0 x1 y1"),
        ("def_pos_expl", "x0 y0 why0 x1 y1"),
        ("def_pos_neg", "x0 y0 x1 y1 u0 v0 u1 v1"),
        ("def_pos_neg_expl", "x0 y0 why0 x1 y1 u0 v0 no0 u1 v1 no1"),
    ],
)
def test_encodings_show_what_the_paper_shows_in_its_order(encoding, shown):
    slots = ENCODINGS[encoding](full_record())
    for style in ("examples", "examples_qa", "examples_solved", "examples_prose"):
        assert re.findall(r"\b(?:[xyuv]\d|why\d|no\d)\b", slots[style]) == shown.split()
        assert slots[style].endswith("\n\n") or not shown
        # Every part starts with words, and without line ends nothing runs together.
        assert all(re.match(r"[A-Za-z ,]+\d?[A-Za-z ,]*[.:]", part) for part in slots[style].split("\n") if part)


@given(st.integers(0, 400))
def test_negative_examples_give_way_before_positive_ones(limit):
    slots = SuperNIFields(3, max_characters=limit, num_negative=3, explanations=True)(full_record())
    shown = re.findall(r"\b[xu]\d\b", slots["examples"])
    everything = ["x0", "x1", "x2", "u0", "u1", "u2"]
    costs = [4 + 4, 4, 4 + 4, 4 + 3, 4 + 3, 4 + 3]
    positive = [name for at, name in enumerate(everything[:3]) if 20 + sum(costs[: at + 1]) <= limit]
    assert [name for name in shown if name[0] == "x"] == positive
    if len(positive) < 3:
        assert len(shown) == len(positive)
    else:
        assert shown == [name for at, name in enumerate(everything) if 20 + sum(costs[: at + 1]) <= limit]


def test_a_file_says_what_it_is_made_of(fixtures, tmp_path):
    source = superni_file(PLURAL)
    said = source.metadata()
    assert (said.categories, said.sources, said.domains) == (("Word Semantics",), ("made for tests",), ("Test",))
    assert said.input_languages == said.output_languages == said.instruction_languages == ("English",)
    assert source.origins() == {"madefortests"}
    path = tmp_path / "task700_mmmlu_things.json"
    path.write_text(json.dumps({"Source": ["measuring_massive_multitask_language_understanding", "GLUE"], **GOOD}))
    assert superni_file(path).origins() == {"mmlu", "glue"}
    assert superni_task(path).source.origins() == {"mmlu", "glue"}
    assert metadata(path).input_languages == ()


def made(folder, name, **fields):
    (folder / "tasks").mkdir(parents=True, exist_ok=True)
    (folder / "tasks" / f"{name}.json").write_text(json.dumps({**fields, **GOOD, **fields}))


def test_filters_take_tasks_by_category_language_and_origin(tmp_path):
    english = {key: ["English"] for key in ("Input_language", "Output_language", "Instruction_language")}
    folder = tmp_path / "superni"
    made(folder, "task1_plain", **english)
    made(folder, "task2_translation", **{**english, "Output_language": ["English", "Finnish"]})
    made(folder, "task700_mmmlu_anatomy", **english)
    made(folder, "task4_other", **{**english, "Categories": ["Question Answering"]})
    made(folder, "task5_silent")
    made(folder, "task6_test", **{**english, "Categories": ["Fill in"], "Input_language": ["Finnish"]})
    for track in ("default", "xlingual"):
        (folder / "splits" / track).mkdir(parents=True)
        names = sorted(path.stem for path in (folder / "tasks").iterdir())
        (folder / "splits" / track / "test_tasks.txt").write_text("task6_test")
        kept = [name for name in names if name != "task6_test"]
        (folder / "splits" / track / "train_tasks.txt").write_text("\n".join(kept))

    def numbers(**arguments):
        mixture = superni_mixture(folder=folder, **arguments)
        return [int(re.match(r"task(\d+)", task.spec.name)[1]) for task in mixture.train_tasks]

    assert numbers() == [1, 2, 4, 5, 700]
    assert numbers(train=TaskFilter(mmlu=False)) == [1, 2, 4, 5]
    assert numbers(train=TaskFilter(output_languages=("English",))) == [1, 4, 700]
    assert numbers(train=TaskFilter(output_languages=("English", "Finnish"), mmlu=False)) == [1, 2, 4]
    assert numbers(train=TaskFilter(categories=("question answering",))) == [4]
    with pytest.raises(UserError, match=r"no train task has the category 'Question Answring'. Did you mean"):
        numbers(train=TaskFilter(categories=("Question Answring",)))
    with pytest.raises(UserError, match="takes none of the 5 training tasks"):
        numbers(train=TaskFilter(input_languages=("Finnish",)))
    english_only = superni_mixture(folder=folder, test=TaskFilter(input_languages=("English",)))
    assert [suite.name for suite in english_only.suites] == ["held_in"]

    assert [spec.name for spec in niv2_tasks(folder=folder)] == [
        "task1_plain",
        "task2_translation",
        "task4_other",
        "task5_silent",
        "task6_test",
    ]
    assert len(niv2_tasks(folder=folder, train=TaskFilter())) == 6


def test_named_mixtures_have_the_papers_encodings(fixtures):
    import mixtures.superni  # noqa: F401  the registration is what is tested

    named = {
        "superni": "def_pos",
        "superni_definition": "def",
        "superni_pos_neg": "def_pos_neg",
        "superni_pos_expl": "def_pos_expl",
        "superni_pos_neg_expl": "def_pos_neg_expl",
    }
    for name, encoding in named.items():
        mixture = get_mixture(name)
        assert mixture.name == name
        assert {task.spec.fields for task in mixture.all_tasks} == {ENCODINGS[encoding]}
    assert get_mixture("superni_pos_4").entries[0].task.spec.fields.num_positive == 4
    niv2 = get_mixture("niv2")
    assert len(niv2.train_tasks) == 4
    assert {task.spec.fields for task in niv2.train_tasks} == {ENCODINGS["def"]}
    assert set(niv2.rates(dict.fromkeys((task.name for task in niv2.train_tasks), 6000)).values()) == {5000.0}
    with pytest.raises(UserError, match=r"xlingual.train_tasks\.txt"):
        get_mixture("superni_xlingual")
    with pytest.raises(UserError, match="explains examples and shows none"):
        superni_mixture(num_positive=0, explanations=True)
    with pytest.raises(UserError, match="num_negative=-1 must be 0 or more"):
        superni_mixture(num_negative=-1)


def test_flan_2022_shows_a_definition_or_one_explained_example_or_two_instances(fixtures):
    from mixtures.superni import niv2_prompts

    zero = niv2_prompts(PromptMode.ZS_OPT)
    few = niv2_prompts(PromptMode.FS_OPT)
    assert len(zero) == 4
    assert len(few) == 8
    assert len({task.name for task in (*zero, *few)}) == 12
    by_name = {task.name: task for task in few}
    inline = next(render_split(by_name["task9001_plural_generation_zs_opt_v2_explained"], "train"))
    assert "ducks" in inline.inputs
    assert "One adds an s." in inline.inputs
    assert "goats" not in inline.inputs
    assert by_name["task9001_plural_generation_fs_opt_v2"].few_shot.shots == 2
    assert "duck" not in next(render_split(zero[0], "train")).inputs


@pytest.mark.realdata
def test_every_published_task_renders_in_every_encoding(realdata: Path):
    sources.set_data_dir(realdata)
    files = sorted((realdata / "superni/tasks").glob("*.json"))
    assert len(files) == 126
    shown: dict[str, int] = {}
    records = 0
    for path in files:
        for encoding, fields in ENCODINGS.items():
            task = Prompted(superni_task(path, fields=fields, role="evaluation"))
            rendered = list(render_split(task, "test"))
            records += len(rendered)
            shown[encoding] = shown.get(encoding, 0) + sum(len(one.inputs) for one in rendered)
    assert records == 5 * 12_590  # 12,591 instances, one without an output
    lengths = [shown[name] for name in ("def", "def_pos", "def_pos_expl", "def_pos_neg_expl")]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) == 4
    mmlu = [path for path in files if "mmlu" in superni_file(path).origins()]
    assert len(mmlu) == 11
    assert all(not TaskFilter(mmlu=False)(path) for path in mmlu)
    assert len(niv2_tasks()) == 115
    assert len(superni_mixture(train=TaskFilter(mmlu=False)).train_tasks) == 76
    assert all(TaskFilter((), ("English",), ("English",), ("English",))(path) for path in files)


def test_answers_in_other_languages_are_measured_by_words_of_any_script_or_by_gpt2s_tokens(tmp_path, monkeypatch):
    monkeypatch.setattr(superni, "resolve", lambda path: tmp_path / path)
    assert [superni._metric_of(track) for track in ("default", "xlingual")] == ["rougeL", "rougeL_unicode"]
    (tmp_path / "tokenizers/gpt2").mkdir(parents=True)
    assert superni._metric_of("xlingual") == f"rougeL_tokens:{tmp_path / 'tokenizers/gpt2'}"
    assert superni._metric_of("default") == "rougeL"
