"""Solved examples: never the query, never another task's, decided by the query's place alone, as many as fit."""

import collections
import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_toys import Listed, make, quiz

from flan_jax.errors import UserError
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.render import Renderer, choose_template, render_split, render_stream
from flan_jax.tasks.rendering.fewshot import Exemplars, content_key, count_that_fit
from flan_jax.tasks.spec import Parts, Prompted
from flan_jax.tasks.style import FLAN_2022, FewShot

QUERY = {"question": "zz?", "answer": "yes", "why": "w"}


def few(spec=None, shots=5, mode="fs_opt", templates="same", budget=None, **changes):
    return Prompted(spec or make(), PromptMode(mode), few_shot=FewShot(shots, templates, budget), **changes)


def words(text):
    return len(text.split())


def record(number):
    return {"id": number, "question": f"w{number}?", "answer": ("yes", "no")[number % 2], "why": f"r{number}"}


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=30),
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
    st.integers(1, 8),
    st.integers(0, 3),
)
def test_no_query_no_content_twice_and_as_many_as_there_are(train, test, shots, seed):
    """Few contents, so that most records have a twin."""
    source = Listed(tuple(map(record, train)), tuple({**record(i), "id": -i} for i in test))
    spec = make(source=source)
    for split, numbers in (("train", train), ("test", test)):
        made = {example.example_id: example for example in render_split(few(spec, shots), split, seed=seed)}
        for index, number in enumerate(numbers):
            others = set(train) - {number}
            assert (index in made) == bool(others)
            if others:
                shown = [train[place] for place in made[index].exemplars]
                assert number not in shown
                assert len(set(shown)) == len(shown) == min(shots, len(others))
                if split == "train":
                    assert index not in made[index].exemplars


def test_what_no_template_sees_does_not_make_a_record_another():
    """The records differ in a number of their own, which is no slot."""
    twins = tuple({**record(number % 3), "id": number} for number in range(12))
    for example in render_split(few(make(source=Listed(twins))), "train"):
        assert {place % 3 for place in example.exemplars} == {0, 1, 2} - {example.example_id % 3}


@dataclasses.dataclass(frozen=True)
class Said:
    """A template in a language of its own."""

    word: str
    inverted: bool = False

    def render(self, record):
        return Parts(f"{self.word} {record['question']}", record["answer"])


@pytest.mark.parametrize("templates", ["same", "mixed"])
def test_records_that_templates_read_whole_are_compared_as_text(templates):
    twins = tuple({**record(number % 4), "id": number} for number in range(16))
    source = Listed(twins, tuple({**record(number), "id": -number} for number in range(4)))
    words = (Said("Say"), Said("Tell"))
    spec = make(source=source, templates=words, slots=(), answer="", options=(), rationale="", cot_templates=())
    for split in ("train", "test"):
        for example in render_split(few(spec, 9, templates=templates), split):
            assert sorted(place % 4 for place in example.exemplars) == sorted({0, 1, 2, 3} - {example.example_id % 4})


def test_the_place_of_the_query_decides_and_nothing_else():
    task = few()
    renderer = Renderer(task, seed=1)

    def exemplars(index, split="test", query=QUERY, seed=1, task=task):
        return Renderer(task, seed)(query, index=index, split=split, template_id=0).exemplars

    for index in range(8):
        expected = exemplars(index)
        assert (
            renderer({**QUERY, "question": "another?"}, index=index, split="test", template_id=2).exemplars == expected
        )
        assert (
            renderer(QUERY, index=index, split="test", template_id=0).exemplars == expected
        )  # asked again, in any order
        assert exemplars(index, task=dataclasses.replace(task, style=FLAN_2022)) == expected
        assert exemplars(index, task=few(mode="fs_noopt")) == expected
        assert exemplars(index, task=few(shots=3)) == expected[:3]
    drawn = [exemplars(index) for index in range(8)]
    assert len(set(drawn)) == 8
    assert drawn != [exemplars(index, split="validation") for index in range(8)]
    assert drawn != [exemplars(index, seed=2) for index in range(8)]
    assert drawn != [exemplars(index, task=few(make("other"))) for index in range(8)]


def test_every_training_record_is_shown_about_as_often():
    shown = collections.Counter()
    renderer = Renderer(few(make(source=quiz(20)), shots=4))
    for index in range(1000):
        shown.update(renderer(QUERY, index=index, split="test", template_id=0).exemplars)
    assert set(shown) == set(range(20))
    assert all(abs(count - 200) < 65 for count in shown.values())  # 5 standard deviations of 12.6


def test_no_other_task_is_shown():
    specs = {word: make(f"quiz_{word}", quiz(word=word)) for word in ("cat", "dog")}
    for word, other in (("cat", "dog"), ("dog", "cat")):
        for example in render_split(few(specs[word], template_ids=(0,)), "test"):
            assert example.inputs.count(word) >= 6 > example.inputs.count(other) == 0


def solved(spec, example, template_ids, mode="zs_opt"):
    """(input, target) of each solved example of ``example``, rendered by itself."""
    renderer = Renderer(Prompted(spec, PromptMode(mode)))
    records = spec.source.train
    return [
        (alone.inputs, alone.targets)
        for place, template in zip(example.exemplars, template_ids, strict=True)
        for alone in [renderer(records[place], index=place, template_id=template)]
    ]


def flan_2021(pairs, query):
    return "".join(f"0 {x} X 1 {y} X " for x, y in pairs) + f"0 {query} X 1 FLAN"


@pytest.mark.parametrize("mode", ["fs_opt", "fs_noopt", "cot_fs_opt", "cot_fs_noopt"])
def test_a_prompt_is_its_solved_examples_and_the_query(mode):
    spec, zero = make(), mode.replace("fs_", "zs_")
    for templates in ("same", "mixed"):
        task = few(spec, 3, mode, templates)
        for example in render_split(task, "test", seed=5):
            own = [
                example.template_id if templates == "same" else choose_template(task, index=place, seed=5)
                for place in example.exemplars
            ]
            alone = Renderer(Prompted(spec, PromptMode(zero)), seed=5)(
                spec.source.test[example.example_id], index=example.example_id, split="test"
            )
            assert example.inputs == flan_2021(solved(spec, example, own, zero), alone.inputs)
            assert (example.targets, example.options, example.references, example.template_id) == (
                alone.targets, alone.options, alone.references, alone.template_id,
            )  # fmt: skip


def test_examples_are_listed_as_the_query_is():
    """One draw of bullets and headers a prompt, or the markers would mean nothing."""
    for example in render_split(few(style=FLAN_2022, template_ids=(0,)), "test"):
        blocks = [
            block for style in FLAN_2022.options for block in [style.block(("yes", "no"))] if block in example.inputs
        ]
        assert example.inputs.count(max(blocks, key=len)) == 6


def test_mixed_templates_differ_and_matching_ones_do_not():
    spec, shots, count = make(source=quiz(300)), 6, 400
    task = few(spec, shots, templates="matching")
    template = [choose_template(task, index=place, seed=0) for place in range(300)]
    of = collections.Counter(template)
    renderer, found, expected, variance = Renderer(task), 0, 0.0, 0.0
    for index in range(count):
        example = renderer(QUERY, index=index, split="test")
        own = choose_template(task, index=index, seed=0)
        assert example is None or {template[place] for place in example.exemplars} == {own}
        found += len(example.exemplars) if example else 0
        share = of[own] / 300
        expected, variance = expected + shots * share, variance + shots * share * (1 - share)
    assert abs(found - expected) < 4 * math.sqrt(variance)
    mixed = next(
        renderer_of(QUERY, index=3, split="test") for renderer_of in [Renderer(few(spec, 6, templates="mixed"))]
    )
    assert len({template[place] for place in mixed.exemplars}) > 1


@settings(max_examples=60)
@given(
    st.integers(1, 120), st.integers(1, 6), st.sampled_from(["same", "mixed"]), st.integers(0, 11),
    st.sampled_from(["fs_opt", "cot_fs_noopt"]),
)  # fmt: skip
def test_the_longest_row_that_fits_is_kept(budget, shots, templates, index, mode):
    spec = make()
    query = spec.source.test[index]
    full = Renderer(few(spec, shots, mode, templates))(query, index=index, split="test")
    own = [
        full.template_id if templates == "same" else choose_template(few(spec, mode=mode), index=place, seed=0)
        for place in full.exemplars
    ]
    zero = mode.replace("fs_", "zs_")
    pairs = solved(spec, full, own, zero)
    alone = Renderer(Prompted(spec, PromptMode(zero)))(query, index=index, split="test").inputs
    fitting = [count for count in range(1, len(pairs) + 1) if words(flan_2021(pairs[:count], alone)) <= budget]
    for task, length in (
        (few(spec, shots, mode, templates, budget), 10_000),
        (few(spec, shots, mode, templates), -(-budget * 16 // 15)),  # 15/16 of it is the budget
    ):
        found = Renderer(task, length=words, max_length=length)(query, index=index, split="test")
        if not fitting:
            assert found is None
        else:
            assert found.exemplars == full.exemplars[: max(fitting)]
            assert found.inputs == flan_2021(pairs[: max(fitting)], alone)
            assert words(found.inputs) <= budget


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(0, 60))
def test_the_number_that_fits_is_found_by_halving(lengths, budget):
    pairs = [("x" * length, "") for length in lengths]

    def prompt(some):
        return "".join(x for x, _ in some) + "query"

    fitting = [count for count in range(len(pairs) + 1) if len(prompt(pairs[:count])) <= budget]
    assert count_that_fit(pairs, prompt, lambda text: len(text) <= budget) == max(fitting, default=0)


def test_where_no_example_fits_the_record_is_left_out():
    task = few(budget=14)
    assert list(render_stream(task, "test", length=words, max_length=99)) == [None] * 12
    # An only record has nothing to be shown with.
    one = make(source=Listed(train=(record(1),), test=(record(1), record(2))))
    assert [example.example_id for example in render_split(few(one), "train")] == []
    assert [example.example_id for example in render_split(few(one), "test")] == [1]


def test_training_records_that_cannot_be_shown_are_passed_over():
    def fields(record):
        return None if record["id"] == 3 else record

    broken = {"id": 9, "question": "no answer?"}
    train = (record(0), "cannot be read", record(2), record(3), broken, {**record(5), "answer": "maybe"}, record(6))
    spec = make(source=Listed(train, (record(7),)), fields=fields)
    (example,) = render_split(few(spec), "test")
    assert sorted(example.exemplars) == [0, 2, 6]  # their places count what cannot be read
    with pytest.raises(UserError, match="has no split 'train' to take solved examples from"):
        list(render_split(few(make(source=Listed(test=(record(7),)))), "test"))


def test_a_large_training_split_is_sampled_fairly_and_by_place():
    slots = [(index, {"x": str(index)}) for index in range(2000)]
    pool = Exemplars.of("task", 0, slots, limit=100)
    assert len(pool.indices) == 100
    assert list(pool.indices) == sorted(pool.indices)
    assert pool == Exemplars.of("task", 0, reversed(slots), limit=100)
    assert abs(sum(pool.indices) / 100 - 1000) < 4 * 2000 / math.sqrt(12 * 100)
    # What else there is decides nothing: half of the records keep those of the pool that are among them.
    half = Exemplars.of("task", 0, slots[::2], limit=100)
    assert set(pool.indices) & set(range(0, 2000, 2)) <= set(half.indices)
    others = [Exemplars.of("task", 1, slots, 100).indices, Exemplars.of("other", 0, slots, 100).indices]
    assert all(len(set(pool.indices) & set(other)) < 20 for other in others)


def test_a_choice_of_candidates_stays_what_it_is():
    """Every prepared store of a few-shot mode depends on it."""
    pool = Exemplars.of("task", 0, [(place, {"x": str(place)}) for place in range(12)], limit=10)
    assert pool.indices == (0, 1, 2, 3, 4, 6, 7, 9, 10, 11)
    assert list(pool.candidates("task", 0, "test", 7, {"x": "none"})) == [0, 3, 6, 9, 2, 5, 8, 1, 4, 7]


@given(st.integers(1, 40), st.integers(0, 1000))
def test_candidates_go_through_the_whole_pool_once(count, index):
    pool = Exemplars.of("task", 0, [(place, {"x": str(place)}) for place in range(count)])
    assert sorted(pool.candidates("task", 0, "test", index, {"x": "none"})) == list(range(count))
    inside = list(pool.candidates("task", 0, "train", index, {"x": "none"}))
    assert sorted(inside) == [place for place in range(count) if place != index]


def test_content_is_compared_by_slots_and_values():
    assert content_key({"a": "1", "b": "2"}) == content_key({"b": "2", "a": "1"})
    different = ({"a": "1", "b": "2"}, {"a": "2", "b": "1"}, {"a": "1"}, {"a": 1, "b": "2"}, {"a": "1", "b": ("2",)})
    assert len({content_key(slots) for slots in different}) == len(different)


def test_content_is_compared_without_case_and_white_space():
    asked = {"q": "Who  is it?", "list": ["A b"]}
    assert content_key(asked) == content_key({"q": " who is\nIT? ", "list": ("a  B",)})
    assert content_key(asked) != content_key({**asked, "q": "Who is it"})


def test_an_answer_tells_nothing_apart_unless_it_is_all_there_is():
    answers = frozenset(("a",))
    assert content_key({"q": "x", "a": "1"}, answers) == content_key({"q": "X", "a": "2"}, answers)
    assert content_key({"q": " ", "a": "1"}, answers) != content_key({"q": "", "a": "2"}, answers)


@pytest.mark.parametrize("twin", ["W0?", " w0?\n", "w0?"])
@pytest.mark.parametrize("answer", ["yes", "no"])
def test_a_record_that_asks_what_the_query_asks_is_never_shown(twin, answer):
    train = ({**record(1), "question": twin, "answer": answer, "why": "other"}, *(record(n) for n in range(2, 6)))
    spec = make(source=Listed(train, (record(0),)))
    (example,) = render_split(few(spec, shots=5), "test")
    assert sorted(example.exemplars) == [1, 2, 3, 4]
