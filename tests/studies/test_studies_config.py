"""The declaration of a study: what it takes, and what it says of itself."""

import dataclasses
import json

import pytest

from flan_jax.errors import UserError
from flan_jax.studies.config import StudyConfig
from flan_jax.studies.factors.dirichlet import Dirichlet
from flan_jax.studies.factors.nested import Nested
from flan_jax.studies.factors.values import Seeds, Values
from flan_jax.studies.plan import digest_of


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": " "}, "study.name is empty"),
        ({"factors": ()}, "study.factors is empty"),
        ({"factors": (3,)}, "study.factors is"),
        ({"factors": (Seeds(2), Values("seed", (1,)))}, "two factors that are called 'seed'"),
        ({"factors": (Dirichlet(),)}, "study.draws is 0, but the factor 'draw' is drawn"),
        ({"draws": 3}, "no factor is drawn"),
        ({"replicated": 3}, "Give both, or neither"),
        ({"objective": "held_out"}, "must be SUITE/METRIC"),
        ({"draws": -1}, "at least 0"),
    ],
)
def test_what_is_no_study(options, sentence):
    with pytest.raises(UserError, match=sentence):
        StudyConfig(**{"name": "s", "factors": (Seeds(2),), **options})


def test_a_description_tells_studies_apart():
    study = StudyConfig("s", (Nested(Values("rates", ("own",)), {"own": (Values("cap", (1,)),)}), Seeds(2)))
    described = study.description()
    assert json.loads(json.dumps(described)) == described
    assert described["factors"][0]["outer"] == {
        "factor": "Values",
        "option": "rates",
        "values": ["own"],
        "labels_of_values": [],
        "name": "",
    }
    assert described["factors"][0]["inner"]["own"][0]["values"] == [1]
    digests = {
        digest_of(other.description())
        for other in (
            study,
            dataclasses.replace(study, seed=1),
            dataclasses.replace(study, factors=(Seeds(2),)),
            dataclasses.replace(study, factors=(Seeds(3),)),
        )
    }
    assert len(digests) == 4
    assert dataclasses.replace(study, tokens_per_second=5.0).description() == described  # tells of costs only
