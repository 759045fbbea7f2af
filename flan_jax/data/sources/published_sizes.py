"""How many records a published task has, without reading any."""

from flan_jax.tasks.spec import Source


def is_published(source: Source) -> bool:
    """Whether the source is a published data set, for which a local folder may stand in."""
    return hasattr(source, "local")


def is_elsewhere(source: Source) -> bool:
    """Whether the source is published and has no folder on this machine that takes its place."""
    local = getattr(source, "local", None)
    return local is not None and local() is None


def published_size(source: Source, split: str) -> int | None:
    """The number of records of ``split`` as published; ``None`` where that is not known, or the source is not published."""
    count = getattr(source, "count", None)
    return count(split) if count is not None and is_published(source) and split in source.splits else None
