"""Damages the files of a tiny checkpoint in every way and counts what becomes of it: refused, read as it was, or worse.

    python tools/damage_checkpoint.py [--flips 240] [--seed 0]

Three kinds: single flipped bytes spread over all files, whole files (emptied, cut short, deleted, zeroed, another one's,
one too many), and half copies of the folder. Each is read as training resumes (which falls back on an older step) and
as an evaluation reads it. Exits with 1 where one is read as other numbers, or ends in anything but a sentence.
"""

import argparse
import collections
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import optax

from flan_jax.errors import UserError
from flan_jax.testing.models import tiny_t5
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.checkpoint_stream import StoredParams
from flan_jax.train.sharding import MeshConfig, make_partitioner
from flan_jax.train.state import TrainState, abstract_sharded_state, init_state

Harm = tuple[str, Callable[[Path], None]]


def flips(step: Path, count: int, seed: int) -> Iterator[Harm]:
    """Single bytes, each of all files alike likely to be hit as long as it is."""
    files = files_of(step)
    ends = np.cumsum([path.stat().st_size for path in files])
    random = np.random.default_rng(seed)
    # A third anywhere in proportion to size, the rest file after file: small files decide what the large ones mean.
    for index in range(count):
        where = (
            int(np.searchsorted(ends, random.integers(ends[-1]), side="right"))
            if index % 3 == 0
            else index % len(files)
        )
        size = files[where].stat().st_size
        if size:
            yield (
                f"{files[where]} flip",
                flipped(files[where], int(random.integers(size)), 1 << int(random.integers(8))),
            )


def flipped(path: Path, place: int, bit: int) -> Callable[[Path], None]:
    def harm(_: Path) -> None:
        content = bytearray(path.read_bytes())
        content[place] ^= bit
        path.write_bytes(content)

    return harm


def whole_files(step: Path) -> Iterator[Harm]:
    """Whole files: emptied, cut to a half, deleted, zeroed, another's content, and one too many beside them."""
    files = files_of(step)
    for path, other in zip(files, files[1:] + files[:1], strict=True):
        size = path.stat().st_size
        content = other.read_bytes()
        yield f"{path} emptied", lambda _, path=path: path.write_bytes(b"") and None
        yield f"{path} cut", lambda _, path=path, size=size: path.write_bytes(path.read_bytes()[: size // 2]) and None
        yield f"{path} deleted", lambda _, path=path: path.unlink()
        yield f"{path} zeroed", lambda _, path=path, size=size: path.write_bytes(bytes(size)) and None
        yield f"{path} swapped", lambda _, path=path, content=content: path.write_bytes(content) and None
        yield f"{path} one more", lambda _, path=path: (path.parent / "one_more").write_bytes(b"1") and None


def half_copies(step: Path) -> Iterator[Harm]:
    """Copies that ended early: the first files alone, or an item alone, or nothing at all."""
    files = files_of(step)
    for share in range(8):
        gone = files[len(files) * share // 8 :]
        yield f"{share}/8 copied", lambda _, gone=gone: [path.unlink() for path in gone] and None
    for item in ("state", "data", "run"):
        yield f"without {item}", lambda step, item=item: shutil.rmtree(step / item)


def files_of(step: Path) -> list[Path]:
    return sorted(path for path in step.rglob("*") if path.is_file())


def outcome(directory: Path, like: TrainState, saved: np.ndarray, *, resume: bool) -> str:
    """What becomes of a folder with two steps, the newer one damaged."""
    try:
        if resume:
            with Checkpointer(directory) as checkpointer:
                step = checkpointer.latest_step()
                params = checkpointer.restore(like).state.params
        else:
            with Checkpointer(directory, create=False) as checkpointer:
                step, params = 2, checkpointer.restore_params(like.params, 2)
            StoredParams(directory, 2).read(("embedding",))
    except UserError as error:
        return "refused" if "\n" not in str(error) else "refused in more than a sentence"
    except Exception as error:
        return f"TRACEBACK {type(error).__name__}"
    if not np.array_equal(flat(params) - (step or 0), saved):
        return "SILENT"
    return f"read as it was (step {step})"


def flat(params: object) -> np.ndarray:
    return np.concatenate([np.ravel(jax.device_get(leaf)) for leaf in jax.tree.leaves(params)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    partitioner, config = make_partitioner(MeshConfig(), jax.local_devices()[:1]), tiny_t5()
    state = init_state(config, optax.identity(), 0, partitioner)[1]
    like = abstract_sharded_state(config, optax.identity(), partitioner)[1]
    # Whole numbers, so that a step's own added to each of them leaves them exact.
    zero = jax.tree.map(lambda leaf: np.arange(leaf.size, dtype=np.float32).reshape(leaf.shape), state.params)
    saved, bad = flat(zero), 0
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place, "whole")
        with Checkpointer(whole) as checkpointer:
            for step in (1, 2):
                params = jax.tree.map(lambda leaf, step=step: jax.device_put(leaf + step), zero)
                checkpointer.save(step, type(state)(**{**vars(state), "params": params}), {"drawn": step})
        for kind, harms in (
            ("single flipped bytes", lambda step: flips(step, given.flips, given.seed)),
            ("damaged files", whole_files),
            ("half copies", half_copies),
        ):
            for resume in (True, False):
                counts: collections.Counter[str] = collections.Counter()
                total = sum(1 for _ in harms(whole / "2"))
                for index in range(total):
                    copy = Path(place, "copy")
                    shutil.rmtree(copy, ignore_errors=True)
                    shutil.copytree(whole, copy)
                    name, harm = list(harms(copy / "2"))[index]
                    harm(copy / "2")
                    found = outcome(copy, like, saved, resume=resume)
                    counts[found] += 1
                    if not found.startswith(("read", "refused")):
                        bad += 1
                        print(f"  {name}: {found}")
                    elif found == "read as it was (step 2)" and index < 400:
                        print(f"  harmless: {Path(name).relative_to(copy / '2') if name.startswith('/') else name}")
                print(f"{kind}, {'resumed' if resume else 'evaluated'}: {total} tried; {dict(counts)}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
