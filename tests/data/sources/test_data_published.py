"""Published data sets read from local folders: which file, which lines, and under which fingerprint."""

import pickle

import pytest
from prepare_toys import write_lines, yes_or_no

from flan_jax.data.prepare.config import DEFAULT_LENGTHS, PrepareConfig, RecordCounts, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.sources import published as module
from flan_jax.data.sources.generated import generated
from flan_jax.data.sources.published import origin, published, set_source_dir, source_dir
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.errors import RecordError, UserError
from flan_jax.store.store import TokenStore
from flan_jax.tasks.spec import Source
from flan_jax.testing.records import good_records

BROKEN = b'{"n": '


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.delenv(module.SOURCE_DIR_VARIABLE, raising=False)
    folder = tmp_path / "local"
    folder.mkdir()
    set_source_dir(folder)
    yield folder
    set_source_dir(None)


def numbers(count, broken=()):
    return [
        BROKEN if n in broken else {"n": n, "question": f"is {n}", "answer": ("yes", "no")[n % 2]} for n in range(count)
    ]


def put(folder, **splits):
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in splits.items():
        write_lines(folder / f"{split}.jsonl", lines)
    return folder


def rte(**changes):
    values = {
        "revision": "v1", "train": "train[:-200]", "validation": "train[-200:]", "test": "validation",
        "sizes": {"train": 2490, "validation": 277}, "folders": ("rte", "glue_rte"),
    }  # fmt: skip
    return published("someone/glue", "rte", **{**values, **changes})


def read(source, split, errors=None):
    records = source.records(split) if errors is None else good_records(source, split, errors)
    return [record["n"] for record in records]


@pytest.mark.parametrize("place", ["rte", "entailment/rte", "glue_rte", "anything/glue_rte"])
def test_a_folder_of_the_task_takes_the_place_of_the_hub(root, place):
    put(root / place, train=numbers(5), validation=numbers(3), test=numbers(2))
    source = rte()
    assert isinstance(source, Source)
    assert [read(source, split) for split in ("train", "validation", "test")] == [[0, 1, 2, 3, 4], [0, 1, 2], [0, 1]]
    assert source.local() == root / place
    assert str(root / place) in source.describe()
    assert source.size_hint("test") == (root / place / "test.jsonl").stat().st_size
    assert source.place("test", 1) == f"{root / place / 'test.jsonl'}, line 2"


def test_the_first_name_comes_first_and_two_folders_of_one_name_are_refused(root):
    put(root / "glue_rte", train=numbers(1))
    put(root / "empty" / "rte")  # no data in it
    assert rte().local() == root / "glue_rte"
    put(root / "entailment" / "rte", train=numbers(2))
    assert rte(folders=("rte", "other")).local() == root / "entailment" / "rte"
    put(root / "nli" / "rte", train=numbers(2))
    with pytest.raises(UserError, match=r"two folders for 'rte': .*entailment.* and .*nli.*Remove one"):
        rte(folders=("rte",)).local()


def test_without_a_folder_the_hub_is_read(root, monkeypatch):
    asked = []

    def hf(name, config, **choices):
        asked.append((name, config, choices))
        return generated("hub", lambda split: numbers(300), version=1)

    monkeypatch.setattr(module, "hf", hf)
    source = rte(train_limit=100)
    assert source.local() is None
    # FLAN's limits hold there, too.
    assert [len(read(source, split)) for split in ("train", "validation", "test")] == [100, 200, 300]
    choices = {"revision": "v1", "train": "train[:-200]", "validation": "train[-200:]", "test": "validation"}
    assert asked[0] == ("someone/glue", "rte", choices)
    assert source.size_hint("train") == 0
    assert source.place("test", 3).endswith("split 'test', record 3")


def test_the_folder_is_chosen_or_named_by_the_environment(root, tmp_path, monkeypatch):
    monkeypatch.setenv(module.SOURCE_DIR_VARIABLE, str(tmp_path))
    assert source_dir() == root
    set_source_dir(None)
    assert source_dir() == tmp_path
    monkeypatch.delenv(module.SOURCE_DIR_VARIABLE)
    assert source_dir() is None
    set_source_dir(tmp_path / "missing")
    with pytest.raises(UserError, match=r"SOURCE_DIR .*missing' is not a folder"):
        list(rte().records("train"))


@pytest.mark.parametrize(("count", "held"), [(3000, 200), (1999, 199), (25, 2), (9, 0)])
def test_without_a_file_to_validate_on_the_end_of_the_training_file_does(root, count, held):
    put(root / "rte", train=numbers(count), test=numbers(2))
    source = rte(train_limit=10_000)
    assert read(source, "train") == list(range(count - held))
    assert read(source, "validation") == list(range(count - held, count))
    assert read(source, "test") == [0, 1]
    if held:
        assert source.place("validation", 0).endswith(f"train.jsonl, line {count - held + 1}")
    assert source.place("train", 0).endswith("train.jsonl, line 1")
    # A file of its own leaves the training file whole; so does a task that validates on nothing.
    assert read(rte(validation=None, train_limit=10_000), "train") == list(range(count))
    put(root / "rte", validation=numbers(7))
    assert (read(source, "train"), read(source, "validation")) == (list(range(count)), list(range(7)))


def test_no_more_is_read_than_flan_reads(root):
    put(root / "rte", train=numbers(50), validation=numbers(300), test=numbers(300))
    source = rte(train_limit=30)
    assert [read(source, split) for split in ("train", "validation", "test")] == [
        list(range(30)), list(range(200)), list(range(300)),
    ]  # fmt: skip
    assert module.TRAIN_LIMIT == 30_000
    assert rte().train_limit == 30_000


EDGE = 36  # of 40 lines, four are kept to validate on


@pytest.mark.parametrize("broken", [(), (3,), (35,), (36,), (38,), (39,), (0, 35, 36, 39), (34, 35), (36, 37, 38, 39)])
def test_a_line_that_cannot_be_read_moves_no_edge(root, broken):
    put(root / "rte", train=numbers(40, broken), test=numbers(2))
    source = rte()
    for split, wanted in (("train", range(EDGE)), ("validation", range(EDGE, 40))):
        records = list(source.read(split))
        told = [record for _, record in records if isinstance(record, RecordError)]
        found = [(index, record["n"]) for index, record in records if not isinstance(record, RecordError)]
        assert found == [(index, n) for index, n in enumerate(wanted) if n not in broken]
        lines = [n for n in wanted if n in broken]
        assert [f"train.jsonl, line {n + 1}:" in error for n, error in zip(lines, map(str, told), strict=True)] == [
            True
        ] * len(lines)
        for index, n in found:
            assert source.place(split, index).endswith(f"line {n + 1}")
        if lines:
            with pytest.raises(UserError, match=f"line {lines[0] + 1}:"):
                list(source.records(split))
        else:  # the other side's line is the other side's
            assert read(source, split) == list(wanted)


@pytest.mark.parametrize("broken", [(2,), (9,), (10,), (0, 9, 10, 11)])
def test_a_line_that_cannot_be_read_counts_towards_the_limit(root, broken):
    put(root / "rte", train=numbers(30, broken), validation=numbers(3), test=numbers(2))
    told = []
    assert read(rte(train_limit=10), "train", told) == [n for n in range(10) if n not in broken]
    assert len(told) == sum(n < 10 for n in broken)


def test_the_blank_lines_of_a_file_are_no_records(root):
    put(root / "rte", train=[b"", *numbers(20), b" "], test=numbers(1))
    assert read(rte(), "train") == list(range(18))
    assert rte().place("validation", 1).endswith("line 21")


def test_preparing_skips_broken_lines_and_keeps_every_other_example_as_it_was(root, tmp_path):
    def stored(broken):
        put(root / "rte", train=numbers(40, broken))
        task = yes_or_no("rte", "unused", source=rte(test=None))
        store = TokenStore(tmp_path / f"store{len(broken)}")
        prepare(
            [(task, ["train", "validation"])],
            PrepareConfig(ByteVocabulary(), TokenizeConfig(DEFAULT_LENGTHS, on_error="skip")),
            store=store,
        )
        found = {}
        for split in ("train", "validation"):
            whole = store.open(task.name, split)
            assert RecordCounts.from_manifest(whole.manifest["tally"]).records == {"train": 36, "validation": 4}[split]
            for position, index in enumerate(whole.example_ids.tolist()):
                found[split, index] = (whole.inputs(position).tolist(), int(whole.template_ids[position]))
        return found

    clean, holes = stored(()), stored((5, 36))
    assert len(clean) == 40
    assert holes == {
        place: example for place, example in clean.items() if place not in {("train", 5), ("validation", 0)}
    }


def test_a_fingerprint_is_that_of_the_records(root):
    put(root / "rte", train=numbers(40), test=numbers(3))
    source = rte()

    def prints(source):
        return [source.fingerprint(split) for split in source.splits]

    first = prints(source)
    assert len(set(first)) == 3
    put(root / "rte", test=numbers(4))
    second = prints(source)
    assert [one == other for one, other in zip(first, second, strict=True)] == [True, True, False]
    put(root / "rte", train=numbers(41))
    third = prints(source)
    assert [one == other for one, other in zip(second, third, strict=True)] == [False, False, True]
    put(root / "rte", validation=numbers(3))
    fourth = prints(source)
    assert not set(third[:2]) & set(fourth[:2])  # the training file is whole now
    assert prints(rte(train_limit=7))[0] != fourth[0]
    assert prints(rte(train_limit=7))[1:] == fourth[1:]
    (root / "rte").rename(root / "glue_rte")  # where it lies changes nothing
    assert prints(rte(folders=("glue_rte",))) == fourth
    assert len({tuple(prints(rte(folders=("nowhere",), **more))) for more in ({}, {"revision": "v2"}, {"train": "train[:-100]"})}) == 3  # fmt: skip


def test_a_split_without_a_file_says_what_is_there(root):
    put(root / "rte", train=numbers(3), dev=numbers(1))
    with pytest.raises(UserError, match=r"rte/test.jsonl' does not exist \(there: dev.jsonl, train.jsonl\)"):
        list(rte().records("test"))
    with pytest.raises(UserError, match=r"has no split 'test'\. It has: train, validation"):
        rte(test=None).read("test")
    put(root / "eval" / "glue_rte", test=numbers(3))
    with pytest.raises(UserError, match=r"train.jsonl' does not exist \(there: test.jsonl\)"):
        list(rte(folders=("glue_rte",)).records("train"))
    assert read(rte(folders=("glue_rte",)), "test") == [0, 1, 2]


def test_counts_are_those_of_the_published_slices():
    source = rte()
    assert [source.count(split) for split in ("train", "validation", "test")] == [2290, 200, 277]
    assert rte(train_limit=1000).count("train") == 1000
    assert rte(validation="validation").count("validation") == 200  # of 277
    assert rte(train="train[100:150]").count("train") == 50
    assert rte(train="train[5000:]").count("train") == 0
    assert rte(sizes={"train": 50}).count("train") == 0  # "[:-200]" of 50
    assert rte(sizes={}).count("train") is None
    assert rte(sizes={"train": 9}).count("test") is None
    assert rte(test=None).count("test") is None


def test_impossible_declarations_are_refused():
    with pytest.raises(UserError, match="names no split"):
        published("x", folders=("x",))
    with pytest.raises(UserError, match="names no local folder"):
        published("x", train="train")
    for part in ("train[:10%]", "train[1]", "train[:5]+test", "", "train[1:2:3]"):
        with pytest.raises(UserError, match=r"train='.*' must be a split or a slice"):
            published("x", train=part, folders=("x",))


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("nyu-mll/glue", "rte", "rte"),
        ("aps/super_glue", "rte", "rte"),
        ("SuperGLUE", None, "superglue"),
        ("rajpurkar/squad_v2", "squad_v2", "squadv2"),
        ("wmt/wmt16", "de-en", "wmt16 deen"),
        ("allenai/openbookqa", "main", "openbookqa"),
    ],
)
def test_a_data_set_goes_by_one_name(name, config, expected):
    assert origin(name, config) == expected


def test_the_origins_of_a_task_are_its_data_set_and_its_folders(root):
    source = rte(folders=("rte", "SuperGLUE_RTE"))
    assert source.origins() == {"rte", "supergluerte"}
    assert yes_or_no("a", "unused", source=source).spec.source.origins() == source.origins()
    assert yes_or_no("a", root / "a.jsonl").spec.source.origins() == frozenset()


def test_a_source_travels_and_reads_nothing_until_asked(root):
    source = rte()
    assert pickle.loads(pickle.dumps(source)) == source
    set_source_dir(root / "missing")
    assert source.splits == ("train", "validation", "test")
