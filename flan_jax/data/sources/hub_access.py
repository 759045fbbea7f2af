"""Access to the Hugging Face hub: offline where it cannot be reached, and which splits of a data set are trained on.

Without a network its client tries for half a minute.
"""

import contextlib
import os
import socket
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence

from flan_jax.data.sources.split_names import split_name

ENDPOINT = "https://huggingface.co"
_AGAIN_AFTER = 1.0


@contextlib.contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Puts the hub's client in its offline mode where the hub's address cannot be resolved.

    What was downloaded before is found as ever; what was not is an error at once. Where a proxy is
    set, names are its business, and nothing is changed.
    """
    flags = [] if _resolvable() else [sys.modules.get("datasets.config"), sys.modules.get("huggingface_hub.constants")]
    with contextlib.ExitStack() as undo:
        for module in flags:
            if module is not None:
                undo.callback(setattr, module, "HF_HUB_OFFLINE", module.HF_HUB_OFFLINE)
                module.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
        yield


def training_splits(names: Sequence[str]) -> str:
    """Returns the split expression to train on in a data set without a split ``train``; ``""`` where no name says it.

    >>> training_splits(["train_sft", "test_sft"]), training_splits(["train_sft", "train_gen"]), training_splits(["en"])
    ('train_sft', 'train_sft+train_gen', 'en')
    >>> training_splits(["test"]), training_splits(["en", "de"])
    ('', '')
    """
    said = {name: split_name(name).split for name in names}
    trained = [name for name, split in said.items() if split == "train"]
    return "+".join(trained) or (names[0] if list(said.values()) == [""] else "")


def _resolvable() -> bool:
    if urllib.request.getproxies():
        return True
    host = urllib.parse.urlsplit(os.environ.get("HF_ENDPOINT") or ENDPOINT).hostname
    for last in (False, True):
        try:
            socket.getaddrinfo(host, 443)
            return True
        except OSError as error:
            if last or error.errno != socket.EAI_AGAIN:
                return False
            time.sleep(_AGAIN_AFTER)  # a name server may be busy once
    return False
