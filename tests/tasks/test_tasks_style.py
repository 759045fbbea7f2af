import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_toys import make

from flan_jax.errors import UserError
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.render import Renderer
from flan_jax.tasks.spec import Prompted, Template
from flan_jax.tasks.style import FLAN_2021, FLAN_2022, ExemplarStyle, FewShot, OptionStyle, PromptStyle

DASHES = OptionStyle()
QUESTIONS = ExemplarStyle("Q: ", "A: ")


def styled(*options):
    return PromptStyle("one", options, (QUESTIONS,))


def render(record, style, options, mode="zs_opt", **changes):
    spec = make(options=options, slots=("question", "answer", "why"), **changes)
    return Renderer(Prompted(spec, PromptMode(mode), style=style))(record, index=0, template_id=0)


def test_flan_2021_is_its_published_form():
    (style,) = FLAN_2021.exemplars
    assert style.prompt([("a", "b"), ("c", "d")], "e") == "0 a X 1 b X 0 c X 1 d X 0 e X 1 FLAN"
    assert style.prompt([("{x1}", "{y1}")], "{x}") == "0 {x1} X 1 {y1} X 0 {x} X 1 FLAN"
    assert [style.block(["yes", "no"]) for style in FLAN_2021.options] == ["OPTIONS:\n- yes\n- no"]


option = st.text("abcé {}.0", min_size=1).map(str.strip).filter(bool)


@settings(max_examples=400)
@given(st.sampled_from(FLAN_2022.options), st.lists(option, min_size=2, max_size=26, unique=True), st.data())
def test_every_style_lists_every_option_and_its_marker_is_the_answer(style, options, data):
    block, markers = style.block(options), style.markers(len(options))
    assert block.startswith(style.header)
    assert all(option in block for option in options)
    assert block.endswith(style.ending)
    chosen = data.draw(st.sampled_from(options))
    example = render({"question": "q", "answer": chosen, "why": "w"}, styled(style), tuple(options))
    if not style.numbering:
        assert (markers, example.targets, example.options) == ((), chosen, tuple(options))
        assert block.count("\n" + style.bullet) == len(options)
    elif style.fits(options):
        assert len(set(markers)) == len(options)
        assert (example.options, example.references) == (markers, (example.targets,))
        assert (
            f"{example.targets} {chosen}{style.separator if chosen != options[-1] else style.ending}" in example.inputs
        )
        assert block in example.inputs
    else:
        assert (example.targets, example.options) == (chosen, tuple(options))
        assert DASHES.block(options) in example.inputs


@given(st.sampled_from([style for style in FLAN_2022.options if style.numbering]))
def test_options_that_a_marker_cannot_stand_for_are_listed_with_dashes(style):
    first, second = style.markers(2)
    assert first.strip() == first != second
    for options in ((second, first), ("other", first)):
        example = render({"question": "q", "answer": options[0], "why": "w"}, styled(style), options)
        assert example.inputs.endswith(f"\n\nOPTIONS:\n- {options[0]}\n- {options[1]}")
        assert (example.targets, example.options) == (options[0], options)
    many = tuple(f"option {i}" for i in range(27))
    example = render({"question": "q", "answer": many[26], "why": "w"}, styled(style), many)
    if style.numbering == "1":
        assert (example.targets, len(set(example.options))) == (style.markers(27)[26], 27)
    else:
        assert (example.targets, example.options) == (many[26], many)
        assert DASHES.block(many) in example.inputs


def test_a_marker_stands_for_the_answer_everywhere():
    style = styled(OptionStyle(bullet="({n}) ", numbering="a"))
    spec = make(options="kinds", slots=("question", "answer", "why", "kinds"))
    record = {"question": "q", "answer": ["green", "red"], "why": "red it is", "kinds": ["red", "blue", "green"]}
    zero = Renderer(Prompted(spec, style=style))(record, index=0, template_id=0)
    assert (zero.targets, zero.references, zero.options) == ("(c)", ("(c)", "(a)"), ("(a)", "(b)", "(c)"))
    reasoned = Renderer(Prompted(spec, PromptMode.COT_ZS_OPT, style=style))(record, index=0, template_id=0)
    assert (reasoned.targets, reasoned.references) == ("red it is So (c)", ("(c)", "(a)"))
    hidden = Renderer(Prompted(spec, PromptMode.ZS_NOOPT, style=style))(record, index=0, template_id=0)
    assert (hidden.targets, hidden.options) == ("green", ("red", "blue", "green"))


def test_every_style_of_a_collection_is_drawn():
    task = Prompted(make(), PromptMode.ZS_OPT, style=FLAN_2022)
    record = {"question": "q", "answer": "yes", "why": "w"}
    renderer = Renderer(task)
    drawn = {renderer(record, index=index, template_id=0).inputs for index in range(1500)}
    assert drawn == {f"Say: q\n\n{style.block(('yes', 'no'))}" for style in FLAN_2022.options}
    # The same place in another split is another draw.
    pairs = [[renderer(record, index=i, template_id=0, split=s).inputs for s in ("train", "test")] for i in range(40)]
    assert sum(one != other for one, other in pairs) > 20


def words_between(text, *parts):
    """What stands between the parts, which must follow one another."""
    match = re.fullmatch(
        "(.*)".join(map(re.escape, parts)), text[text.index(parts[0]) : text.rindex(parts[-1]) + len(parts[-1])]
    )
    assert match, (text, parts)
    return [group.split() for group in match.groups()]


@pytest.mark.parametrize("style", [*FLAN_2022.exemplar_styles(False), *FLAN_2021.exemplar_styles(False)], ids=repr)
def test_where_line_ends_are_dropped_the_parts_can_still_be_told_apart(style):
    prompt = style.prompt([("one x", "one y"), ("two x", "two y")], "three x")
    to_target, to_input, to_target_again = words_between(" ".join(prompt.split()), "one x", "one y", "two x", "two y", "three x")[:3]  # fmt: skip
    assert to_target
    assert to_input
    assert to_target == to_target_again != to_input
    for options in FLAN_2022.options:
        flat = " ".join(options.block(["left one", "right one", "last one"]).split())
        assert all(words_between(flat, "left one", "right one", "last one"))


def test_unreadable_styles_are_not_drawn_where_line_ends_are_dropped():
    assert len(FLAN_2022.exemplars) > len(FLAN_2022.exemplar_styles(False)) >= 5
    assert FLAN_2022.exemplar_styles(True) == FLAN_2022.exemplars
    for delimiter, separator, before_input, before_target in itertools.product(("\n", " # "), ("\n\n", "\n--\n"), ("", "Q: "), ("", "A: ")):  # fmt: skip
        style = ExemplarStyle(before_input, before_target, delimiter, separator)
        apart = ("#" in delimiter or before_target) and ("-" in separator or before_input)
        assert style.survives_lost_newlines == bool(apart)
    kept = [False, True]
    for newlines in kept:
        task = Prompted(make(), PromptMode.FS_NOOPT, style=FLAN_2022)
        renderer = Renderer(task, newlines=newlines)
        prompts = [
            renderer({"question": "last?", "answer": "yes", "why": "w"}, index=i, split="test", template_id=0).inputs
            for i in range(80)
        ]
        bare = [prompt for prompt in prompts if re.search(r"\?\s+(yes|no)\s+Say", prompt)]
        assert bool(bare) == newlines


def test_impossible_styles_are_refused():
    for options, exemplars in (((), (QUESTIONS,)), ((DASHES,), ()), ((DASHES,), (ExemplarStyle(),))):
        with pytest.raises(UserError, match="'odd' needs a way to list options, and one to set examples that stays"):
            PromptStyle("odd", options, exemplars)
    for wrong in ({"shots": 0}, {"templates": "some"}):
        with pytest.raises(UserError, match="at least one shot, and templates that are 'same', 'mixed' or 'matching'"):
            FewShot(**wrong)
    with pytest.raises(UserError, match=r"budget=0.*at least one token"):
        FewShot(budget=0)


def test_a_template_with_options_of_its_own_letters_keeps_them():
    example = render(
        {"question": "(A) {n}. {0}", "answer": "yes", "why": "w"},
        styled(OptionStyle(bullet="{n}. ", numbering="A")),
        ("{n}", "yes"),
        templates=(Template("{question}"),),
    )
    assert example.inputs == "(A) {n}. {0}\n\nOPTIONS:\nA. {n}\nB. yes"
