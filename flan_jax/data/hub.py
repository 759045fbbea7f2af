"""Whether the Hugging Face hub can be reached at all. Without a network its client tries for half a minute."""

import contextlib
import os
import socket
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator

ENDPOINT = "https://huggingface.co"
_AGAIN_AFTER = 1.0


@contextlib.contextmanager
def hub_in_reach() -> Iterator[None]:
    """Has the hub's client work from its cache alone where the hub's address cannot be resolved.

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
