"""Two tasks and a mixture with a curriculum, as a user's module declares them."""

from flan_jax.data.sources.generated import generated
from flan_jax.mixing.mixture import Entry, Mixture, register_mixture
from flan_jax.tasks.spec import Prompted, TaskSpec, Template


def _task(name: str, words: tuple[str, ...]) -> Prompted:
    def records(split: str) -> list[dict[str, str]]:
        return [{"text": f"{words[i % len(words)]} {split[0]}{i}", "answer": words[i % len(words)]} for i in range(24)]

    return Prompted(
        TaskSpec(
            name=name, cluster=name, source=generated(name, records, version=1), fields=dict, slots=("text", "answer"),
            options=words, templates=(Template("Say {text}"),),
        )
    )  # fmt: skip


def _mixture() -> Mixture:
    first, second = _task("taught_first", ("a", "b")), _task("taught_later", ("c", "d"))
    return Mixture(
        "taught", (Entry(first), Entry(second)), vocabulary="bytes", curriculum=((first.name, 1.0),)
    )  # fmt: skip


register_mixture("taught", _mixture)
