"""Records that are asked several times: which templates, in which orders of options, and what stays the same."""

import collections
import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.render import Renderer, render_split
from flan_jax.tasks.rendering.option_orders import OptionOrder, option_orders
from flan_jax.tasks.repeats import Repeats, templates_in_turn
from flan_jax.tasks.spec import ORDER, Prompted
from flan_jax.tasks.style import FLAN_2022, OptionStyle
from flan_jax.testing.tasks import COPY, PARITY


@given(count=st.integers(2, 9), blocks=st.integers(1, 4), each=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_template_is_asked_equally_often_from_the_first_records_on(count, blocks, each, seed):
    each = min(each, count)
    chosen = [templates_in_turn(range(count), index=i, seed=seed, task="t")[:each] for i in range(count * blocks)]
    assert all(len(set(own)) == each for own in chosen)
    assert set(collections.Counter(itertools.chain(*chosen)).values()) == {each * blocks}
    # Two at a time connect all templates within a block: none is compared with a part of the others alone.
    if each > 1:
        joined, own = {chosen[0][0]}, chosen[:count]
        for _ in range(count):
            joined |= {one for pair in own if joined & set(pair) for one in pair}
        assert joined == set(range(count))


def test_pairs_of_templates_meet_evenly():
    pairs = collections.Counter(
        frozenset(templates_in_turn(range(5), index=i, seed=3, task="t")[:2]) for i in range(2000)
    )
    assert len(pairs) == 10
    assert max(pairs.values()) < 1.35 * min(pairs.values())
    other = [templates_in_turn(range(5), index=i, seed=4, task="t")[0] for i in range(50)]
    assert other != [templates_in_turn(range(5), index=i, seed=3, task="t")[0] for i in range(50)]


def test_a_record_is_rendered_under_each_template_of_its_budget():
    plain = Prompted(PARITY)
    asked = dataclasses.replace(plain, repeats=Repeats(templates=2))
    seen = collections.defaultdict(list)
    for example in render_split(asked, "train", seed=1):
        seen[example.example_id].append(example)
    renderer = Renderer(plain, seed=1)
    records = list(PARITY.source.records("train"))
    for index, own in seen.items():
        assert len({example.template_id for example in own}) == 2
        for example in own:
            assert example == renderer(records[index], index=index, template_id=example.template_id)
    # More than there are: the whole cross, of templates whose target is the answer.
    every = dataclasses.replace(plain, repeats=Repeats(templates=99))
    counts = collections.Counter(example.example_id for example in render_split(every, "train"))
    assert set(counts.values()) == {len(plain.scored_templates)}


@pytest.mark.parametrize("numbered", [False, True])
def test_options_are_listed_in_other_orders_and_the_scored_ones_stay(numbered):
    style = FLAN_2022 if numbered else Prompted(PARITY).style
    if numbered:
        style = dataclasses.replace(style, options=(OptionStyle(bullet="({n}) ", numbering="A"),))
    spec = dataclasses.replace(
        PARITY, options=("odd", "even", "neither", "both"), templates=PARITY.templates[:1],
    )  # fmt: skip
    asked = Prompted(spec, PromptMode.ZS_OPT, style=style, repeats=Repeats(option_orders=3))
    groups = collections.defaultdict(list)
    for example in render_split(asked, "train"):
        groups[example.example_id].append(example)
    published = {own.example_id: own for own in render_split(dataclasses.replace(asked, repeats=Repeats()), "train")}
    for index, own in groups.items():
        assert len({example.inputs for example in own}) == 3
        first = dataclasses.replace(own[0], extras={})
        assert first == published[index]
        for number, example in enumerate(own):
            order = OptionOrder.from_text(example.extras[ORDER])
            assert order.number == number
            (right,) = example.references
            # Whatever it is called, the right option is the same of the published order.
            meant = order.published[example.options.index(right)]
            assert spec.options[meant] == (
                published[index].references[0]
                if not numbered
                else spec.options[
                    OptionOrder.from_text(own[0].extras[ORDER]).published[own[0].options.index(own[0].references[0])]
                ]
            )
            if numbered:
                assert f"{right} {spec.options[meant]}" in example.inputs
                assert example.options == ("(A)", "(B)", "(C)", "(D)")
            else:
                assert example.options == spec.options


def test_what_lists_no_options_is_asked_once():
    for task in (Prompted(COPY), Prompted(PARITY, PromptMode.ZS_NOOPT)):
        asked = dataclasses.replace(task, repeats=Repeats(option_orders=4))
        examples = list(render_split(asked, "train"))
        assert len({example.example_id for example in examples}) == len(examples)
        assert {OptionOrder.from_text(example.extras[ORDER]).number for example in examples} == {0}


def test_solved_examples_stay_the_same_in_every_order():
    task = Prompted(PARITY, PromptMode.FS_OPT, repeats=Repeats(option_orders=2))
    groups = collections.defaultdict(list)
    for example in itertools.islice(render_split(task, "train"), 12):
        groups[example.example_id].append(example)
    pairs = [own for own in groups.values() if len(own) == 2]
    assert len(pairs) > 2
    for one, other in pairs:
        assert one.exemplars == other.exemplars
        assert one.inputs != other.inputs
        assert one.inputs.rsplit(" X 0 ", 1)[0] == other.inputs.rsplit(" X 0 ", 1)[0]


def test_many_options_have_orders_too():
    orders = option_orders(12, 5, seed=0, task="t", example_id=3)
    assert orders[0] == tuple(range(12))
    assert len(set(orders)) == 5
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert orders != option_orders(12, 5, seed=1, task="t", example_id=3)
    with pytest.raises(UserError, match="3 orders of the options are asked for, but 2 options have 1 to 2"):
        option_orders(2, 3, seed=0, task="t", example_id=0)
    with pytest.raises(UserError, match="asked at least once"):
        Repeats(templates=0)
