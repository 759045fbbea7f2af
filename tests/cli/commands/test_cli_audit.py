"""``flan-jax audit``: what is held out is compared with what is trained on."""

import json

import pytest
from small_mini import small_mini

import mixtures  # noqa: F401  (registered before a test's own module is, and so still there after it)

IMPORT = ("--module_import", "own_audited")
# A held-out task of which some questions stand, in other words around them, in a task that is trained on.
MODULE = """
import dataclasses
from flan_jax.data.sources.generated import generated
from flan_jax.mixing.mixture import Entry, Mixture, Suite, register_mixture
from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import Prompted, TaskSpec, Template

LONG = "Which of the {n} birds on the old harbour wall flew away first when the bell rang"


def asked(split):
    return [{"text": LONG.format(n=n) + "?", "answer": "none"} for n in range(20)]


def known(split):
    copied = [{"text": LONG.format(n=n).upper() + " ...", "answer": "all"} for n in range(COPIES)]
    return [{"text": f"What is {n} plus one?", "answer": str(n + 1)} for n in range(30)] + copied


COPIES = 3
ASKED = register(TaskSpec(
    name="own_asked", cluster="own_birds", source=generated("own_asked", asked, 1, splits=("test",)), fields=dict,
    slots=("text", "answer"), templates=(Template("{text}"),), predict="generate", metric="exact_match",
))
KNOWN = register(dataclasses.replace(
    ASKED, name="own_known", cluster="own_sums", source=generated("own_known", known, 1, splits=("train", "test")),
))
register_mixture("own_audited", lambda: Mixture(
    "own_audited", (Entry(Prompted(KNOWN)),), suites=(Suite("unseen", (Prompted(ASKED),), held_out=True),),
))
register_mixture("own_both", lambda: Mixture("own_both", (Entry(Prompted(KNOWN)),)))
"""


def test_a_planted_duplicate_is_found(refused, cli, module):
    module(MODULE, "own_audited")
    message = refused("audit", "own_audited", *IMPORT)
    assert message.startswith("Mixture 'own_audited' is contaminated: 3 of 20 records of the held-out task 'own_asked'")
    assert "the first at record 30: 'which of the 0 birds on the old harbour wall" in message
    outcome = cli("audit", "own_audited", *IMPORT)
    assert "20 held-out records compared with 33 that are trained on." in outcome.out
    assert "own_asked  own_known         3  20  15.00%" in outcome.out
    assert "Clean" not in outcome.out
    assert "read own_asked: 20 records\nread own_known: 33 records\n" in outcome.err


def test_a_tolerance(refused, cli, module):
    module(MODULE, "own_audited")
    outcome = cli("audit", "own_audited", *IMPORT, "--tolerance", "0.15")
    assert outcome.code == 0, outcome.err
    assert "Clean: own_audited does not train on what it holds out, at most 15.00% of any task." in outcome.out
    assert "is contaminated" in refused("audit", "own_audited", *IMPORT, "--tolerance", "0.14")


def test_a_clean_mixture(cli, module):
    module(MODULE.replace("COPIES = 3", "COPIES = 0"), "own_audited")
    outcome = cli("audit", "own_audited", *IMPORT)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == "Clean: own_audited does not train on what it holds out."
    assert "Records in both" not in outcome.out


def test_json(cli, module):
    module(MODULE, "own_audited")
    outcome = cli("audit", "own_audited", *IMPORT, "--json")
    assert outcome.code == 2
    found = json.loads(outcome.out)
    assert (found["mixture"], found["clean"], found["tolerance"]) == ("own_audited", False, 0.0)
    assert found["held_out"] == [{"task": "own_asked_zs_opt", "split": "test"}]
    assert (found["held_out_records"], found["trained_records"]) == (20, 33)
    (pair,) = found["records"]
    assert (pair["held_out"], pair["trained"], pair["records"], pair["of"]) == ("own_asked", "own_known", 3, 20)
    assert found["reason"] in outcome.err


def test_one_data_set_on_both_sides(refused, module, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAN_JAX_SOURCE_DIR", str(tmp_path))
    (tmp_path / "birds").mkdir()
    for split in ("train", "test"):
        (tmp_path / "birds" / f"{split}.jsonl").write_text(json.dumps({"text": split, "answer": "no"}) + "\n")
    both = MODULE.replace(
        'generated("own_asked", asked, 1, splits=("test",))', 'published("x/birds", test="test", folders=("birds",))'
    )
    both = both.replace(
        'generated("own_known", known, 1, splits=("train", "test"))',
        'published("y/Birds", train="train", folders=("birds",))',
    ).replace("import dataclasses", "import dataclasses\nfrom flan_jax.data.sources.published import published")
    module(both, "own_audited")
    message = refused("audit", "own_audited", *IMPORT)
    assert "'own_asked' and the trained task 'own_known' are both made from 'birds'" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("own_both",), "measures nothing. Hold clusters or tasks out with --hold_out"),
        (("own_audited", "--tolerance", "2"), "--tolerance 2 must be a share from 0 to 1"),
        (("own_audited", "--hold_out", "own_sum"), "Did you mean 'own_sums'"),
        (("own_audit",), "Did you mean 'own_audited'"),
    ],
)
def test_what_it_refuses(refused, module, arguments, expected):
    module(MODULE, "own_audited")
    assert expected in refused("audit", *arguments, *IMPORT)


def test_something_held_out_on_the_command_line(cli):
    with small_mini():
        outcome = cli("audit", "mini", "--hold_out", "dialogue", "--json")
    found = json.loads(outcome.out)
    assert outcome.code == (0 if found["clean"] else 2)
    assert {"next_reply_zs_opt", "speech_act_zs_opt"} <= {row["task"] for row in found["held_out"]}


@pytest.fixture
def folder(tmp_path):
    def write(name, *asked):
        lines = [json.dumps({"instruction": text, "input": "", "output": "x"}) for text in asked]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")

    write("train", "Name the longest river of Elmland.", "Name a fruit that is red.", "Say which tool cuts wood best.")
    write("test", "Name the  longest river of ELMLAND!", "Name a new fruit that is green.")
    return tmp_path


def test_the_test_file_of_a_folder_is_compared_with_its_training_file(cli, folder):
    outcome = cli("audit", str(folder))
    assert outcome.code == 2
    assert f"1 of 2 records that task '{folder.name}' is measured on are among those" in outcome.err
    assert cli("audit", str(folder), "--tolerance", "0.5").code == 0


CONTAINED = MODULE.replace(
    'LONG.format(n=n).upper() + " ..."', '"Q: " + LONG.format(n=n).upper() + " A: all. Q: What is two plus two? A:"'
)


def test_what_is_contained_is_in_the_verdict_and_by_a_flag_in_the_exit_code(cli, refused, module):
    module(CONTAINED, "own_audited")
    outcome = cli("audit", "own_audited", *IMPORT)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == (
        "Clean: own_audited does not train on what it holds out; but 3 held-out records stand inside longer texts that are "
        "trained on, in 1 pairs of tasks (the largest share: 3 of 20 of 'own_asked' in 'own_known')."
    )
    message = refused("audit", "own_audited", *IMPORT, "--refuse_contained")
    assert "3 of 20 records of the held-out task 'own_asked' stand inside longer texts of the training data" in message
    assert cli("audit", "own_audited", *IMPORT, "--refuse_contained", "--tolerance", "0.15").code == 0
