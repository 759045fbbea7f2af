"""Make a Hugging Face folder one that runs start from: its weights as a checkpoint, its tokenizer as it was."""

import argparse
import dataclasses
import json
import sys

from flan_jax.cli.paths import given_name_or_path, given_path

EXAMPLE = "flan-jax import-hf google/flan-t5-base weights/flan_t5_base   (or a folder in the place of the hub's name)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "source",
        type=given_name_or_path,
        metavar="SRC",
        help="a folder with config.json and *.safetensors, or OWNER/NAME",
    )
    parser.add_argument("destination", type=given_path, metavar="DST", help="the folder to make; it must not exist")
    parser.add_argument("--allow_nonfinite", action="store_true", help="take weights that are infinite or not a number")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Imports, and says what was written."""
    from flan_jax.experiments.weights.import_hf import import_folder

    def log(line: str) -> None:
        if not arguments.json:
            print(line, file=sys.stderr, flush=True)

    done = import_folder(arguments.source, arguments.destination, allow_nonfinite=arguments.allow_nonfinite, log=log)
    if arguments.json:
        print(json.dumps(dataclasses.asdict(done), indent=1))
        return 0
    compared = "the logits of a few prompts" if done.checked == "logits" else "every tensor"
    print(
        f"{done.parameters:,} parameters of {done.source} ({done.model_type}) are in {done.folder}; {compared} agree"
        f"{'s' if done.checked == 'tensors' else ''} with the source's (largest difference {done.largest_difference:g}).\n"
        f"Start from them with --gin.INITIAL_CHECKPOINT_PATH={done.folder}"
    )
    return 0
