"""FLAN's published templates: imported byte for byte, slips, and what a task cannot render."""

import ast
import dataclasses
import json
import os
from pathlib import Path

import pytest

from flan_jax.data.sources.json_files import jsonl
from flan_jax.data.templates.flan_templates import (
    NAMES_OPTIONS,
    REPEATED,
    SETS,
    STRAY_N,
    import_templates,
    read_published,
    tasks_of,
)
from flan_jax.data.templates.literal_tables import read_tables
from flan_jax.data.templates.template_set import load_template_set, with_templates, write_template_set
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.tasks.render import render
from flan_jax.tasks.spec import Prompted, PromptMode, PublishedFields, TaskSpec, Template, VerbatimTemplate

# Made up, in the shape of the published file; the seventh line has a slip.
PUBLISHED = r'''
"""Templates."""
import nowhere

COMMON = "Read this: "
PATTERNS = {
    "colour": [
        (COMMON + "{context}" "\n\n{options_}", "{answer}"),
        ("{context} and {hue}n\n{options_}", "{answer}"),
        ("Name a thing.", "{context}"),
        ("Use braces {like these: {context}", "{answer}"),
        (COMMON + "{context}\n\n{options_}", "{answer}"),
        ("{sky}", "{answer}"),
    ],
    "shade_r": [("{context}", "{answer}")] * 2,
    "nothing": [("{x}", "{y}")],
}
PATTERNS["cot_reasons"] = [("{question}", "{chain_of_thought} So {answer}."), ("{question}", "{answer}: {chain_of_thought}")]
'''


def spec(name, slots=("passage", "hue", "answer"), **more):
    source = jsonl(train="none.jsonl")
    return TaskSpec(
        name=name,
        cluster="c",
        source=source,
        fields=dict,
        slots=slots,
        predict="generate",
        metric="exact_match",
        templates=(Template(f"Ours: {{{slots[0]}}}"),),
        **more,
    )


def as_published(record):
    """The record's words as the invented code has them, which ours puts otherwise."""
    block = "OPTIONS:\n- red\n- blue"
    return {"context": record["passage"], "hue": record["hue"], "answer": record["answer"].lower(), "options_": block}


COLOUR = PublishedFields(
    "flan2021", as_published, ("context", "hue", "answer", "options_"), options=("red", "blue"), scored=()
)
REASONS = PublishedFields("flan2021", dict, ("question", "answer", "chain_of_thought"), rationale="chain_of_thought")


def checkout(tmp_path, text=PUBLISHED, file="flan/templates.py"):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return tmp_path


TASKS = {
    "colour": spec("colour", options=("BLUE", "RED"), published=(COLOUR, dataclasses.replace(COLOUR, name="flan2022"))),
    "cot_reasons": spec(
        "cot_reasons",
        ("question", "why", "answer"),
        rationale="why",
        cot_templates=(Template("{question}", "{why} {answer}"),),
        published=(REASONS,),
    ),
}


def test_templates_stay_as_they_are_published(tmp_path):
    imported = import_templates(checkout(tmp_path), "flan2021", TASKS, commit="abc")
    assert imported.content["tasks"] == {
        "colour": [
            {"inputs": "Read this: {context}\n\n{options_}", "targets": "{answer}", "inverted": False},
            {"inputs": "{context} and {hue}n\n{options_}", "targets": "{answer}", "inverted": False},
            {"inputs": "Name a thing.", "targets": "{context}", "inverted": True},
            {"inputs": "Use braces {like these: {context}", "targets": "{answer}", "inverted": False},
            {"inputs": "Read this: {context}\n\n{options_}", "targets": "{answer}", "inverted": False},
        ],
        "cot_reasons": [
            {"inputs": "{question}", "targets": "{chain_of_thought} So {answer}.", "inverted": False, "reasons": True},
            {"inputs": "{question}", "targets": "{answer}: {chain_of_thought}", "inverted": True, "reasons": True},
        ],
    }
    assert (imported.content["fields"], imported.content["lists_options"]) == ("flan2021", True)
    assert imported.slips == ((STRAY_N, "colour", 1), (REPEATED, "colour", 4), (REPEATED, "shade_r", 1))
    assert imported.no_task == ("shade_r", "nothing")
    assert imported.unsupported == (("colour", 5, "FLAN's code gives colour no {sky}"),)
    assert imported.content["source"]["commit"] == "abc"
    assert len(imported.content["source"]["sha256"]["flan/templates.py"]) == 64


def test_slips_can_be_put_right(tmp_path):
    imported = import_templates(checkout(tmp_path), "flan2021", TASKS, fix_slips=True)
    inputs = [template["inputs"] for template in imported.content["tasks"]["colour"]]
    assert inputs[1] == "{context} and {hue}\n\n{options_}"
    assert len(inputs) == 4
    assert imported.slips == ((STRAY_N, "colour", 1), (REPEATED, "colour", 4), (REPEATED, "shade_r", 1))


def test_sets_without_options_take_away_what_flan_takes_away(tmp_path):
    own = (
        '{"colour": [("{context} Options:\\n{options_}", "{answer}"), ("{context} ({options_})", "{answer}"),'
        ' ("{context}\\n\\n{options_}", "{answer}\\n{options_}")]}'
    )
    folder = checkout(tmp_path, "PATTERNS = {'colour': [('{hue}', '{answer}')]}", "flan/v2/templates.py")
    checkout(tmp_path, f"PATTERNS = {own}", "flan/v2/flan_templates_branched.py")
    kept = import_templates(folder, "flan2022_zs_noopt", TASKS)
    # The brackets of the second stay there, and so does what the target shows.
    assert [template["inputs"] for template in kept.content["tasks"]["colour"]] == [
        "{context} Options:",
        "{context} ()",
        "{context}",
    ]
    assert kept.slips == ((NAMES_OPTIONS, "colour", 0),)
    mended = import_templates(folder, "flan2022_zs_noopt", TASKS, fix_slips=True)
    assert [template["inputs"] for template in mended.content["tasks"]["colour"]] == ["{context} ()", "{context}"]
    path = tmp_path / "set.json"
    write_template_set(path, kept.content)
    task = Prompted(with_templates(TASKS["colour"], load_template_set(path)), PromptMode.ZS_NOOPT)
    shown = render(task, {"passage": "P", "hue": "H", "answer": "RED"}, index=0, template_id=2)
    assert (shown.inputs, shown.targets, shown.options) == ("P", "red\nOPTIONS:\n- red\n- blue", ())


def test_few_shot_patterns_are_calls_of_a_known_record(tmp_path):
    text = (
        'FEWSHOT_PATTERNS = {"colour": [FewShotPattern(inputs="{context}", targets="{answer}", x_y_delimiter="\\n")]}'
    )
    folder = checkout(tmp_path, text, "flan/v2/templates.py")
    assert read_published(folder, "flan2022_fs_opt") == {"colour": [("{context}", "{answer}")]}


def test_a_file_is_never_run(tmp_path):
    marker = tmp_path / "ran"
    attack = f"__import__('os').system('touch {marker}')"
    passed_over = checkout(
        tmp_path / "a", f"{attack}\nOTHER = {attack}\nPATTERNS = {{'colour': [('{{hue}}', '{{answer}}')]}}\n"
    )
    assert read_published(passed_over, "flan2021") == {"colour": [("{hue}", "{answer}")]}
    inside = checkout(tmp_path / "b", f"PATTERNS = {{\n  'colour': [\n    ({attack}, '{{answer}}')]}}\n")
    with pytest.raises(UserError, match=r"templates\.py, line 3: Call is not one of text"):
        read_published(inside, "flan2021")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("T = {}\nT.update(x=1)", "line 2: T is used in a statement that is no plain assignment"),
        ("T = {}\nfor x in T:\n    T[x] = 1", "line 2: T is used in a statement"),
        ("T = {}\nT |= {}", "line 2: T is used in a statement"),
        ("T = {}\nT['a']['b'] = 1", "line 2: T is used"),
        ("T = {'a': f'{x}'}", "line 1: JoinedStr is not one of"),
        ("T = [x for x in 'abc']", "line 1: ListComp is not one of"),
        ("U = U\nT = U", "line 1: the name 'U' is not assigned above"),
        ("T = 'ab' * 999 * 999", "line 1: it repeats something to more than 1,000,000 elements"),
        ("T = ['x'] * 10**9", "line 1: BinOp is not one of"),
        ("T = {**{}}", "line 1: a dictionary is unpacked"),
        ("T = {'a': 1}\nT['b'] = T['c']", "line 2: there is no entry 'c'"),
        ("T = 'a' + 1", "line 1: only two texts or two lists can be joined"),
        ("T = (", "line 1 is not Python"),
        ("T = " + "-" * 9999 + "1", "is not Python"),
        ("S = 1", "Unknown table in .*: 'T'"),
        ("T = {}\nT[['a']] = 1", "line 2: a key must be a text or a number"),
        ("T = 'a'" + " + 'a'" * 700, "line 1: too deeply nested|is not Python"),
        (
            "A0 = 'x'\n" + "".join(f"A{i + 1} = A{i} + A{i}\n" for i in range(40)) + "T = A40",
            "the file asks for more than 5,000,000 values",
        ),
    ],
)
def test_what_is_no_literal_is_one_clear_error(tmp_path, text, message):
    path = tmp_path / "tables.py"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_tables(path, "T")


def test_tables_are_put_together_as_python_would(tmp_path):
    text = 'A: str = "x"\nB = [A + "y"]\nT = {"a": B + ["z"] * 2, 1: (None, True, 2.5), "r": R(k=B)}\nT["b"] = T["a"]\n'
    path = tmp_path / "tables.py"
    path.write_text(text)
    space = {"R": dict}
    exec(text, space)
    assert read_tables(path, "T", records=("R",))["T"] == space["T"]


def test_keys_are_mapped_to_tasks():
    names = ["arc_easy", "arc_challenge", "rte", "cot_gsm8k", "mrpc", "wmt16_translate_deen", "wmt14_enfr"]
    assert tasks_of("arc", names) == ("arc_challenge", "arc_easy")
    assert tasks_of("stream_input_inversion_gsm8k", ["cot_gsm8k", "cot_gsm8k_inverted"]) == ("cot_gsm8k_inverted",)
    assert tasks_of("wmt16_translate", names) == ("wmt16_translate_deen",)
    assert [tasks_of(key, names) for key in ("rte", "stream_gsm8k", "glue_mrpc", "no")] == [
        ("rte",),
        ("cot_gsm8k",),
        ("mrpc",),
        (),
    ]


def test_bad_checkouts_are_named(tmp_path):
    with pytest.raises(UserError, match=r"flan/templates\.py does not exist. Name a checkout"):
        read_published(tmp_path, "flan2021")
    with pytest.raises(UserError, match=r"Unknown published template set 'flan2012'. Did you mean 'flan2021'"):
        read_published(tmp_path, "flan2012")
    with pytest.raises(UserError, match=r"PATTERNS\['a'\]\[0\] must be two texts"):
        read_published(checkout(tmp_path, "PATTERNS = {'a': [('x', 1)]}"), "flan2021")
    with pytest.raises(UserError, match="No template of 'flan2021'"):
        import_templates(checkout(tmp_path, "PATTERNS = {'a': [('{x}', '{y}')]}"), "flan2021", TASKS)


def test_a_set_changes_the_templates_of_tasks_and_mixtures_alone(tmp_path, caplog):
    path = tmp_path / "set.json"
    write_template_set(path, import_templates(checkout(tmp_path), "flan2021", TASKS).content)
    loaded = load_template_set(path)
    assert (loaded.name, loaded.tasks) == ("flan2021", ("colour", "cot_reasons"))
    changed = with_templates(TASKS["colour"], loaded)
    assert changed == dataclasses.replace(
        TASKS["colour"], templates=changed.templates, fields=as_published, slots=COLOUR.slots, options=("red", "blue")
    )
    assert changed.templates[0] == VerbatimTemplate("Read this: {context}\n\n{options}")
    assert changed.templates[3] == VerbatimTemplate("Use braces {{like these: {context}")
    assert changed.templates[2].inverted
    reasoned = with_templates(TASKS["cot_reasons"], loaded)
    assert reasoned.templates == TASKS["cot_reasons"].templates
    assert reasoned.cot_templates[0] == VerbatimTemplate("{question}", "{chain_of_thought} So {answer}.")
    assert reasoned.rationale == "chain_of_thought"

    other = spec("other")
    inner = Mixture("inner", (Entry(Prompted(TASKS["colour"]), rate=2.0),))
    outer = Mixture("outer", (Entry(inner), Entry(Prompted(other))), suites=(Suite("s", (Prompted(TASKS["colour"]),)),))
    with caplog.at_level("WARNING"):
        mixed = with_templates(outer, loaded)
    assert "templates for 1 of 2 tasks; the others keep their own: other" in caplog.text
    assert mixed.entries[0].task.entries[0].task.spec == changed
    assert mixed.entries[0].task.entries[0].rate == 2.0
    assert mixed.entries[1].task.spec is not changed
    assert mixed.entries[1].task.spec == other
    assert mixed.suites[0].tasks[0].spec == changed
    scored = Prompted(TASKS["colour"], template_ids=(0,))
    (task,) = with_templates(Mixture("m", (Entry(scored),)), loaded).train_tasks
    assert task.template_ids == task.scored_templates == (0, 1, 3, 4)
    text = render(mixed.suites[0].tasks[0], {"passage": "P", "hue": "H", "answer": "RED"}, index=0, template_id=1)
    assert (text.inputs, text.targets) == ("P and Hn\nOPTIONS:\n- red\n- blue", "red")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "is no template set"),
        ({"name": "x", "tasks": {}}, "is no template set"),
        ({"name": "x", "tasks": {"colour": []}}, "tasks.colour: must be a list"),
        ({"name": "x", "tasks": {"colour": [{"inputs": "a"}]}}, r"tasks.colour\[0\]: must be an object with the texts"),
        (
            {"name": "x", "tasks": {"colour": [{"inputs": "{passage}", "targets": "{answer}", "invert": True}]}},
            r"unknown key 'invert'. Did you mean 'inverted'",
        ),
        ({"name": "x", "tasks": {"colour": [{"inputs": "{passage", "targets": "{answer}"}]}}, "unbalanced braces"),
        ({"name": "x", "tasks": {"colour": [{"inputs": "{a}", "targets": "b", "inverted": 1}]}}, "true or false"),
        ({"name": "x", "fields": 1, "tasks": {"colour": [{"inputs": "a", "targets": "b"}]}}, "'fields' must be a text"),
        (
            {"name": "x", "fields": "flan2021", "tasks": {"colour": [{"inputs": "a", "targets": "b", "asks": 1}]}},
            "'asks' must be the name of a slot",
        ),
        ({"name": "x", "tasks": {"colour": [{"inputs": "a", "targets": "b", "asks": "c"}]}}, "unknown key 'asks'"),
    ],
)
def test_a_bad_set_is_named_by_place(tmp_path, content, message):
    path = tmp_path / "set.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        load_template_set(path)


def test_a_set_that_does_not_suit_the_tasks_is_refused(tmp_path):
    def made(task, inputs):
        path = tmp_path / "set.json"
        path.write_text(json.dumps({"name": "x", "tasks": {task: [{"inputs": inputs, "targets": "{answer}"}]}}))
        return load_template_set(path)

    with pytest.raises(UserError, match=r"set\.json.*unknown slot \{pasage\}. Did you mean 'passage'"):
        with_templates(TASKS["colour"], made("colour", "{pasage}"))
    with pytest.raises(UserError, match=r"no templates for task 'colour'. Did you mean 'color'"):
        with_templates(TASKS["colour"], made("color", "{passage}"))
    with pytest.raises(UserError, match="no templates for mixture 'm'"):
        with_templates(Mixture("m", (Entry(Prompted(TASKS["colour"])),)), made("color", "{passage}"))
    with pytest.raises(UserError, match="no templates for task 'colour'"):
        with_templates(Mixture("colour", (Entry(Prompted(TASKS["colour"])),)), made("color", "{passage}"))
    with pytest.raises(UserError, match="does not exist"):
        load_template_set(tmp_path / "none.json")
    path = tmp_path / "set.json"
    path.write_text(
        json.dumps(
            {"name": "x", "fields": "flan2012", "tasks": {"colour": [{"inputs": "{hue}", "targets": "{answer}"}]}}
        )
    )
    with pytest.raises(UserError, match=r"task 'colour' has no published fields 'flan2012'"):
        with_templates(TASKS["colour"], load_template_set(path))


@pytest.mark.skipif(
    "FLAN_JAX_FLAN_DIR" not in os.environ, reason="needs FLAN_JAX_FLAN_DIR, a checkout of google-research/FLAN"
)
def test_the_published_sets():
    import mixtures  # noqa: F401  registers the tasks
    from flan_jax.tasks.catalog import TASKS as OURS

    folder = Path(os.environ["FLAN_JAX_FLAN_DIR"])
    read = {name: read_published(folder, name) for name in SETS}
    assert {name: (len(keys), sum(map(len, keys.values()))) for name, keys in read.items()} == {
        "flan2021": (61, 610),
        "flan2022_zs_opt": (120, 1290),
        "flan2022_zs_noopt": (120, 1290),
        "flan2022_fs_opt": (119, 1190),
        "flan2022_fs_noopt": (119, 1190),
    }
    table = ast.parse((folder / "flan/templates.py").read_text()).body[-1]
    assert read["flan2021"] == ast.literal_eval(table.value)

    tasks = {name: OURS.get(name) for name in OURS}
    for name in SETS:
        imported = import_templates(folder, name, tasks)
        assert sum(kind == STRAY_N for kind, _, _ in imported.slips) == (9 if name == "flan2021" else 0)
        assert imported.unsupported == ()
        flan2021 = {spec.name for spec in tasks.values() if spec.collection == "flan2021"}
        assert len(flan2021) == 70
        assert flan2021 <= set(imported.content["tasks"])
        if name == "flan2021":
            assert [slip for slip in imported.slips if slip[0] == REPEATED] == [(REPEATED, "cola", 3)]
            assert imported.no_task == ()
            inverted = {
                task: sum(template["inverted"] for template in given)
                for task, given in imported.content["tasks"].items()
            }
            # Translations from the other language are answers too.
            assert inverted["para_crawl_enes"] == 0
            assert inverted["wmt14_enfr"] == 1
            assert (sum(inverted.values()), sum(map(len, imported.content["tasks"].values()))) == (97, 700)
