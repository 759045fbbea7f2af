"""Write a run's weights as a Hugging Face folder that transformers loads, with tokenizer and model card."""

import argparse
import dataclasses
import json
import sys

from flan_jax.cli.paths import given_any_path, given_path
from flan_jax.cli.run_places import run_folder

EXAMPLE = "flan-jax export-hf runs/no_entailment exported/no_entailment --dtype bfloat16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "model_dir",
        type=given_any_path,
        metavar="MODEL_DIR",
        help="a run's folder or address, or a folder that import-hf made",
    )
    parser.add_argument("destination", type=given_path, metavar="DST", help="the folder to make; it must not exist")
    parser.add_argument("--step", type=int, default=None, help="the checkpoint of this step; default: the newest")
    parser.add_argument(
        "--dtype", default="float32", metavar="{float32,bfloat16,float16}", help="of the weights (default float32)"
    )
    parser.add_argument(
        "--max_shard_size", default="5GB", help="the largest file of weights, such as 500MB (default 5GB)"
    )
    parser.add_argument(
        "--adapter",
        action="store_true",
        help="of a run with adapters or a prompt these alone, as PEFT keeps them; default: one merged model",
    )
    parser.add_argument(
        "--ema",
        action="store_true",
        help="the average of the trained weights, which the run kept (run.ema_decay), in their place",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Exports, and says what was written."""
    from flan_jax.experiments.weights.export_hf import export_run, export_run_adapter
    from flan_jax.models.huggingface.writer import parse_size

    def log(line: str) -> None:
        if not arguments.json:
            print(line, file=sys.stderr, flush=True)

    folder = run_folder(arguments.model_dir, step=arguments.step)
    if arguments.adapter:
        adapter = export_run_adapter(folder, arguments.destination, step=arguments.step, ema=arguments.ema)
        if arguments.json:
            print(json.dumps(dataclasses.asdict(adapter), indent=1))
        else:
            print(
                f"{adapter.parameters:,} parameters of step {adapter.step} are in {adapter.folder} as PEFT's "
                f"{adapter.kind}. {adapter.advice}"
            )
        return 0
    done = export_run(
        folder,
        arguments.destination,
        step=arguments.step,
        dtype=arguments.dtype,
        max_shard_bytes=parse_size(arguments.max_shard_size),
        ema=arguments.ema,
        log=log,
    )
    if arguments.json:
        print(json.dumps(dataclasses.asdict(done), indent=1))
        return 0
    compared = "the logits of a few prompts agree" if done.checked == "logits" else "every tensor agrees"
    print(
        f"{done.parameters:,} parameters of step {done.step} are in {done.folder} as a {done.model_type} in {done.dtype} "
        f"({len(done.files)} file{'' if len(done.files) == 1 else 's'}); {compared} with the checkpoint "
        f"(largest difference {done.largest_difference:g})."
    )
    if not done.tokenizer:
        print("No tokenizer was written: the vocabulary has no files of transformers.")
    return 0
