"""The options of training: what they take, and what they refuse in one sentence."""

import math

import pytest

from flan_jax.errors import UserError
from flan_jax.mixing.config import MixingConfig, parse_weights
from flan_jax.tasks.modes import PromptMode


def test_words_become_names_and_modes():
    config = MixingConfig(keep="a, b", modes="zs_opt,dataset_name")
    assert (config.keep, config.prompt_modes) == (("a", "b"), (PromptMode.ZS_OPT, PromptMode.DATASET_NAME))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"weights": {"a": -1}}, "run.weights gives 'a' the rate -1, which must be a finite number of at least 0"),
        ({"weights": {"a": math.nan}}, "a finite number"),
        ({"weights": {"a": math.inf}}, "a finite number"),
        ({"weights": {"a": True}}, "finite number"),
        ({"weights": {"a": 0, "b": 0.0}}, "every part the rate 0"),
        ({"weights": ("a",)}, "a mapping of names to numbers"),
        ({"modes": ("zs_opts",)}, "Did you mean 'zs_opt'"),
        ({"few_shot_share": 1.5}, "from 0 to 1"),
        ({"max_templates": -1}, "at least 0"),
        ({"rates": "eqal"}, "Did you mean 'equal'"),
        ({"temperature": 0.0}, "above 0"),
        ({"cap": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        MixingConfig(**options)


def test_a_cap_beside_equal_rates_has_no_reader():
    assert [name for name, _ in MixingConfig(rates="equal", cap=3).unread()] == ["cap"]
    assert not list(MixingConfig(rates="proportional", cap=3, temperature=2.0).unread())


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=x", "a=nan", "a=1,a=2", "a=-1", "a=0"])
def test_weights_of_a_command_line_are_numbers_of_names(text):
    with pytest.raises(UserError):
        parse_weights(text)
