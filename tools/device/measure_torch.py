"""PyTorch with transformers at the shapes of our own steps: the same sizes, batch, loss and optimizer."""

import dataclasses
import gc
from collections.abc import Callable, Mapping
from typing import Any

from device.cases import packed_batch, train_cases
from device.timing import seconds_a_call
from peers import peer_torch

CASES = ("decoder_1b", "t5_xl", "decoder_8b_lora")


def measure(settings: Mapping[str, Any], report: Callable[..., None]) -> None:
    """Measures each case that was measured of ours before; what is missing is said."""
    small, earlier = settings["small"], settings["earlier"]
    try:
        import torch
        import transformers
    except ImportError as error:
        report(missing=f"PyTorch or transformers is not installed: {error}")
        return
    report(versions={"torch": torch.__version__, "transformers": transformers.__version__})
    if not small and not torch.cuda.is_available():
        report(missing=f"PyTorch {torch.__version__} sees no CUDA device")
        return
    for name in CASES:
        ours = earlier.get(f"train_{name}", {})
        if "step_s" not in ours:
            report(**{name: {"missing": "our own step was not measured"}})
            continue
        report(**{name: _case(name, ours, small)})
        gc.collect()


def _case(name: str, ours: Mapping[str, Any], small: bool) -> dict[str, Any]:
    """Measures with as many rows as ours had; nothing recomputed where ours recomputed nothing and there is room."""
    import torch

    case, device = train_cases(small)[name], "cpu" if small else "cuda"
    config: Any = dataclasses.replace(case.model, dropout_rate=0.0)  # type: ignore[type-var]
    batch = packed_batch(case.model, ours["rows"], case.inputs, case.targets)
    # One example a row: transformers has no packing, and no mask is its fastest way.
    batch = {key: value * 0 + 1 if key.endswith("_segment_ids") else value for key, value in batch.items()}
    timed, why = None, {}
    for remat in dict.fromkeys((ours["remat"] != "none", True)):
        try:
            step = peer_torch.make_step(
                config, batch, optimizer=case.optimizer.name, learning_rate=case.optimizer.learning_rate, seed=0,
                device=device, remat=remat, lora_rank=case.tuning.lora_rank,
            )  # fmt: skip
            timed = seconds_a_call(step, budget_s=0.3 if small else 4.0, wait=lambda _: peer_torch.wait(device))
            break
        except Exception as error:  # a peer that does not run here must not take the other cases with it
            words = str(error).splitlines()
            why["recomputing" if remat else "saving"] = f"{type(error).__name__}: {words[0][:300] if words else ''}"
        step = None
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
    if timed is None:
        return {"missing": why}
    return {
        "rows": ours["rows"],
        "recomputes": remat,
        "refused": why,
        "step_s": timed,
        "peak_memory_bytes": peer_torch.peak_memory(device),
        "faster_than": timed["median"] / ours["step_s"]["median"],
    }
