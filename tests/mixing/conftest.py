from collections.abc import Callable, Iterator

import pytest

from flan_jax.tasks.spec import Prompted, Record, TaskSpec, Template


class NoSource:
    """A source that is only named: nothing in a mixture may read it."""

    splits = ("train", "test")

    def records(self, split: str) -> Iterator[Record]:
        raise AssertionError("a mixture must not read records")

    def fingerprint(self, split: str) -> str:
        return "0"

    def describe(self) -> str:
        return "nothing"


@pytest.fixture
def make_task() -> Callable[..., Prompted]:
    def make(name: str, cluster: str = "sentiment", **options: object) -> Prompted:
        spec = TaskSpec(
            name=name,
            cluster=cluster,
            source=NoSource(),
            fields=dict,
            templates=(Template("Is this good? {text}"),),
            slots=("text", "answer"),
            options=("yes", "no"),
        )
        return Prompted(spec, **options)

    return make
