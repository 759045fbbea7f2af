"""The parts of a check, in the order in which they run, each with its limit of time; the limits sum to less than eight minutes.

Nothing here imports a package: what starts the parts runs before any is installed.
"""

from typing import NamedTuple


class CheckedPart(NamedTuple):
    """A part of a check.

    Attributes:
        name: as `--parts` takes it.
        module: whose function `measure` it is.
        case: of `cases.train_cases`, of a part that trains.
        limit_s: seconds after which it is stopped.
        correctness: it holds a check of correctness, so that its failure is one.
        does: in a few words.
    """

    name: str
    module: str
    limit_s: float
    does: str
    case: str = ""
    correctness: bool = False


PARTS = (
    CheckedPart("machine", "measure_machine", 25, "device, versions, rate of a product and of the memory"),
    CheckedPart("parity", "measure_parity", 60, "logits and gradients against float32 and the CPU", correctness=True),
    CheckedPart("attention", "measure_attention", 40, "cuDNN's attention against ours", correctness=True),
    CheckedPart("decode", "measure_decode", 40, "tokens a second against the memory's rate"),
    CheckedPart("groups", "measure_groups", 45, "runs trained together against one after another", correctness=True),
    CheckedPart("train_decoder_1b", "measure_train", 55, "a step's time, memory and MFU", "decoder_1b", True),
    CheckedPart("train_decoder_8b_lora", "measure_train", 65, "the same with adapters", "decoder_8b_lora", True),
    CheckedPart("train_t5_xl", "measure_train", 100, "the same of an encoder-decoder", "t5_xl", True),
    CheckedPart("torch", "measure_torch", 45, "PyTorch with transformers at the same shapes"),
)  # fmt: skip
