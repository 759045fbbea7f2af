"""``flan-jax rates``: the table, its JSON, its orders, and what it refuses."""

import json
import sys

import pytest

import mixtures  # noqa: F401  (registered before a test's own module is, and so still there after it)
from flan_jax.cli.commands.rates import HEADINGS
from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.mixing.table import ORDERS, RateRow

IMPORT = ("--module_import", "own_tasks")
# The mixture of `own_tasks` inside another, with a cap and a unit of its own.
NESTED = """
from flan_jax.mixing.policies import Proportional
OUTER = register_mixture("own_outer", lambda: Mixture("own_outer", (
    Entry(MIXTURE(), 3.0),
    Entry(Prompted(PARITY, template_ids=(0,), variant="one")),
    Entry(Prompted(PARITY, template_ids=(1,), variant="left_out"), 0),
), policy=Proportional(cap=1)))
"""
# A published task beside one of no collection; nobody has its data, but its size is known.
PUBLISHED = """
import dataclasses
from flan_jax.data.sources.published import published
FAR = register(dataclasses.replace(PARITY, name="own_far", collection="own", source=published(
    "somebody/numbers", None, train="train[:-200]", sizes={"train": 1200}, folders=("numbers",), train_limit=900)))
UNKNOWN = register(dataclasses.replace(PARITY, name="own_unknown", collection="own", source=published(
    "somebody/letters", None, train="train", folders=("letters",))))
register_mixture("own_published", lambda: Mixture("own_published", (Entry(Prompted(FAR)), Entry(Prompted(PARITY)))))
register_mixture("own_unknown", lambda: Mixture("own_unknown", (Entry(Prompted(UNKNOWN)),)))
"""


@pytest.fixture
def store(cli, module, own_tasks, tmp_path):
    """A store of every task that ``own_outer`` draws from."""
    module(own_tasks + NESTED)
    from own_tasks import OUTER

    from flan_jax.data.prepare.prepare import prepare
    from flan_jax.data.tokenizers.bytes import ByteVocabulary
    from flan_jax.store.store import TokenStore

    path = tmp_path / "store"
    tasks = [(task, ["train"]) for task in OUTER().drawn_tasks]
    prepare(
        tasks, PrepareConfig(ByteVocabulary(), TokenizeConfig({"inputs": 64, "targets": 16})), store=TokenStore(path)
    )
    return str(path)


def lines(text: str) -> dict[str, list[str]]:
    """First word of a line → its words."""
    return {words[0]: words for words in map(str.split, text.splitlines()) if words}


def test_the_table(cli, store):
    outcome = cli("rates", "own_outer", *IMPORT, "--store", store, "--draws", "240")
    assert outcome.code == 0, outcome.err
    rows = lines(outcome.out)
    assert outcome.out.startswith("Rates of own_outer in examples, by Proportional(cap=1, ")
    assert rows["task"][:7] == ["task", "mode", "cluster", "examples", "cap", "rate", "share"]
    # A quarter of the draws is the capped task's, the rest is shared evenly by the two inside.
    assert rows["own_parity_zs_opt_one"][3:7] == ["24", "1", "1", "25.00%"]
    assert rows["own_parity_zs_opt"][3:7] == ["24", "–", "1.500", "37.50%"]
    assert rows["own_parity_zs_opt_left_out"][3:7] == ["–", "–", "0", "0.00%"]
    assert rows["total"][:4] == ["total", "of", "4", "tasks"]
    assert rows["own_mixture"] == ["own_mixture", "2", "48", "3", "75.00%"]
    drawn = [int(row[10].replace(",", "")) for name, row in rows.items() if name.startswith("own_parity")]
    assert sum(drawn) == 240


def test_without_a_store_columns_that_are_not_known_are_left_out(cli, module, own_tasks):
    module(own_tasks)
    rows = lines(cli("rates", "own_mixture", *IMPORT).out)
    assert rows["task"] == ["task", "mode", "cluster", "examples", "rate", "share"]
    assert rows["own_parity_zs_opt"] == ["own_parity_zs_opt", "zs_opt", "own_numbers", "24", "1", "50.00%"]
    assert "drawn" not in lines(cli("rates", "own_mixture", *IMPORT, "--draws", "96").out)["task"]


def test_json_has_everything(cli, store):
    arguments = ("rates", "own_outer", *IMPORT, "--store", store, "--draws", "240", "--seed", "5", "--json")
    described = json.loads(cli(*arguments).out)
    assert (described["mixture"], described["unit"], described["draws"], described["seed"]) == (
        "own_outer",
        "examples",
        240,
        5,
    )
    assert described["policy"].startswith("Proportional(cap=1")
    assert described["store"] == store
    fields = set(RateRow.__dataclass_fields__)
    assert all(set(row) == fields for row in (*described["tasks"], described["total"]))
    assert set(HEADINGS) < fields
    (nested,) = described["nested"]
    assert (nested["mixture"], nested["tasks"], nested["share"]) == ("own_mixture", 2, 0.75)
    assert described["total"]["draws"] == sum(row["draws"] for row in described["tasks"]) == 240
    assert described["notes"] == []


def test_another_seed_draws_others_of_the_same_shares(cli, store):
    def draws(seed):
        arguments = ("rates", "own_outer", *IMPORT, "--store", store, "--draws", "50", "--json", "--seed", str(seed))
        return [row["draws"] for row in json.loads(cli(*arguments).out)["tasks"]]

    assert draws(1) == draws(1)
    assert len({tuple(draws(seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("order", ORDERS)
def test_orders(cli, store, order):
    arguments = ("rates", "own_outer", *IMPORT, "--store", store, "--draws", "240", "--sort", order, "--json")
    rows = json.loads(cli(*arguments).out)["tasks"]
    assert len(rows) == 4
    if order == "name":
        assert [row["task"] for row in rows] == sorted(row["task"] for row in rows)
    else:
        values = [row[order] or 0 for row in rows]
        assert values == sorted(values, reverse=True)


def test_a_note_is_printed(cli, module, own_tasks):
    module(
        own_tasks.replace("import Equal", "import Equal, UniMax").replace("policy=Equal()", "policy=UniMax(2, 10_000)")
    )
    outcome = cli("rates", "own_mixture", *IMPORT, "--draws", "10000")
    assert "note: own_mixture: the budget of 10,000 examples is more than 2 epochs of everything" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--sort", "size"), "invalid choice: 'size'"),
        (("--sort", "epochs"), "--sort epochs needs the length of the run"),
        (("--draws", "-1"), "--draws -1"),
        (("--draws", "many"), "invalid int value: 'many'"),
        (("--draws", "99999999999999999"), "draws cannot be described"),
        (("--store", "nowhere"), "is not in the store nowhere"),
    ],
)
def test_wrong_arguments(refused, module, own_tasks, arguments, expected):
    module(own_tasks)
    assert expected in refused("rates", "own_mixture", *IMPORT, *arguments)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("policy=Equal(), unit='tokens'", "counts its rates in tokens"),
        ("policy=Equal(), unit='token'", "Did you mean 'tokens'"),
        ("unit='epochs'", "Proportional gives them from sizes"),
        ("policy=Equal", "Write Proportional(), Equal()"),
    ],
)
def test_wrong_units(refused, module, own_tasks, policy, expected):
    module(own_tasks.replace("policy=Equal()", policy))
    assert expected in refused("rates", "own_mixture", *IMPORT)


def test_an_unknown_mixture(refused):
    assert "Did you mean 'mini'" in refused("rates", "minni")


def test_a_mixture_inside_itself(refused, module, own_tasks):
    module(
        own_tasks.replace("register_mixture\n", "get_mixture, register_mixture\n").replace(
            "(Entry(Prompted(PARITY)),", "(Entry(get_mixture('own_mixture')),"
        )
    )
    assert "own_mixture → own_mixture" in refused("rates", "own_mixture", *IMPORT)


@pytest.fixture
def published_tasks(module, own_tasks, monkeypatch):
    from flan_jax.data.sources import published

    monkeypatch.delenv(published.SOURCE_DIR_VARIABLE, raising=False)
    module(own_tasks + PUBLISHED)
    yield
    published.set_source_dir(None)


def test_sizes_as_published_where_the_data_are_not_here(cli, published_tasks):
    outcome = cli("rates", "own_published", *IMPORT)
    rows = lines(outcome.out)
    assert rows["task"] == ["task", "collection", "cluster", "examples", "rate", "share"]
    assert rows["own_far_zs_opt"][1:4] == ["own", "own_numbers", "900"]
    assert rows["own_parity_zs_opt"][1:4] == ["–", "own_numbers", "24"]
    assert (
        "Sizes: 1 task as published of the whole data set, nothing being read; 1 task counted from the records."
        in outcome.out
    )
    far, parity = json.loads(cli("rates", "own_published", *IMPORT, "--json").out)["tasks"]
    assert (far["collection"], far["mode"], far["examples"], far["examples_from"]) == (
        "own",
        "zs_opt",
        900,
        "published",
    )
    assert (parity["collection"], parity["examples_from"]) == ("", "counted")


@pytest.mark.parametrize(("records", "expected"), [(40, 40), (950, 900)])
def test_local_data_are_counted_up_to_the_limit(cli, published_tasks, tmp_path, records, expected):
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers" / "train.jsonl").write_text('{"number": "1", "label": "odd"}\n' * records)
    described = json.loads(cli("rates", "own_published", *IMPORT, "--source_dir", str(tmp_path), "--json").out)
    far = described["tasks"][0]
    assert (far["examples"], far["examples_from"], described["notes"]) == (expected, "counted", [])


def test_a_store_says_that_it_counted(cli, store):
    rows = json.loads(cli("rates", "own_outer", *IMPORT, "--store", store, "--json").out)["tasks"]
    assert {row["task"]: row["examples_from"] for row in rows} == {
        "own_parity_zs_opt": "store",
        "own_parity_zs_noopt": "store",
        "own_parity_zs_opt_one": "store",
        "own_parity_zs_opt_left_out": None,
    }


def test_no_size_and_no_data(refused, published_tasks, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = refused("rates", "own_unknown", *IMPORT)
    assert "'own_unknown_zs_opt'" in message
    assert "not known without its data" in message
    assert "--source_dir" in message


def test_flan_2021_before_anything_is_downloaded(cli, monkeypatch):
    monkeypatch.delenv("FLAN_JAX_SOURCE_DIR", raising=False)
    described = json.loads(cli("rates", "flan2021", "--json").out)
    assert len(described["tasks"]) == 69
    assert {row["examples_from"] for row in described["tasks"]} == {"published"}
    assert max(row["examples"] for row in described["tasks"]) == 30_000
    assert {row["rate"] for row in described["tasks"] if row["examples"] >= 3000} == {3000}
    assert described["sizes"] == "69 tasks as published of the whole data set, nothing being read"


def test_published_sizes_take_no_data(cli, tmp_path):
    assert cli("rates", "t0_fsopt", "--data_dir", str(tmp_path)).code == 2
    outcome = cli("rates", "t0_fsopt", "--data_dir", str(tmp_path), "--sizes", "published")
    assert outcome.code == 0, outcome.err
    assert "Sizes: 193 tasks as FLAN's public code counts them." in outcome.out
    rows = lines(outcome.out)
    assert rows["p3_kilt_tasks_hotpotqa_fs_opt_v2_formulate"][2:4] == ["88,863", "20,000"]


def test_the_error_of_missing_files_names_published_sizes(cli, tmp_path):
    outcome = cli("rates", "flan2022_submix", "--data_dir", str(tmp_path))
    assert outcome.code == 2
    assert outcome.err.strip().endswith("with --sizes published.")
    other = cli("rates", "t0_train", "--data_dir", str(tmp_path))
    assert other.code == 2
    assert "--sizes" not in other.err


def test_published_sizes_beside_a_store_are_refused(cli, module, own_tasks, tmp_path):
    module(own_tasks)
    outcome = cli("rates", "own_mixture", *IMPORT, "--store", str(tmp_path), "--sizes", "published")
    assert outcome.code == 2
    assert "Give --store or --sizes." in outcome.err


def test_rates_of_parts_and_of_what_is_kept(cli, store):
    options = ("--keep", "own_parity", "--weights", "own_parity=2")
    outcome = cli("rates", "own_outer", *IMPORT, "--json", *options)
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["weights"] == {"own_parity": 2.0}
    assert {row["cluster"] for row in told["tasks"]} == {told["tasks"][0]["cluster"]}
    assert sum(row["rate"] for row in told["tasks"]) == pytest.approx(2)
    assert "by the weights of 1 part: own_parity 2." in cli("rates", "own_outer", *IMPORT, *options).out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--weights", "own_party=2"), "Did you mean 'own_parity'"),
        (("--weights", "own_parity=-2"), "must be a finite number of at least 0"),
        (("--weights", "own_parity"), "is no NAME=NUMBER"),
        (("--leave_out", "own_party"), "Did you mean 'own_parity'"),
        (("--rates", "eqal"), "Did you mean 'equal'"),
    ],
)
def test_training_that_cannot_be_is_refused(cli, store, options, sentence):
    outcome = cli("rates", "own_outer", *IMPORT, *options)
    assert outcome.code == 2
    assert sentence in outcome.err
