"""Memory and time of `flan-jax import-hf` and `export-hf` on a random model of a published size, and of adapters on it.

    python tools/bench/bench_import_hf.py FOLDER [--preset t5_1_1_xl] [--lora_steps 2] [--out docs/benchmarks/import_hf.json]

Each command is a process of its own; its memory is the largest that the operating system saw it have resident
(ru_maxrss), to be held against the largest file of the weights and against a process that imports JAX and ends.

With --lora_steps, adapters of rank 16 on every kernel are trained on the imported weights for so many steps of one row of
64 tokens, the frozen kernels in --frozen_dtype; then the adapters are exported, and the whole with them added.
"""

import argparse
import filecmp
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from _bench_machine import machine, versions

TOOLS = Path(__file__).parent
IDLE = "import jax; jax.devices()"


def measured(command: list[str]) -> dict[str, Any]:
    started = time.monotonic()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    return {
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_rss_gb": round(usage.ru_maxrss * 1024 / 1e9, 3),
    }


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder to work in; what is made there is removed at the end")
    parser.add_argument("--preset", default="t5_1_1_xl")
    parser.add_argument("--max_shard_size", default="2GB")
    parser.add_argument("--lora_steps", type=int, default=0, help="steps of adapters (default: none)")
    parser.add_argument("--frozen_dtype", default="int8", choices=["float32", "bfloat16", "int8", "nf4"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    work, python = arguments.folder, sys.executable
    result: dict[str, Any] = {
        "what": "flan-jax import-hf and export-hf of a random bfloat16 checkpoint, tensors compared",
        "preset": arguments.preset,
        "machine": machine(),
        "versions": versions("jax", "orbax-checkpoint", "tensorstore", "safetensors"),
    }
    source, imported, exported = work / "source", work / "imported", work / "exported"
    tuned, adapter, merged = work / "tuned", work / "adapter", work / "merged"
    for folder in (source, imported, exported, tuned, adapter, merged):
        shutil.rmtree(folder, ignore_errors=True)
    make = [python, str(TOOLS.parent / "dev" / "make_checkpoint.py"), str(source), "--preset", arguments.preset]
    command = [python, "-m", "flan_jax.cli.main"]
    result["idle_jax"] = measured([python, "-c", IDLE])
    result["make_checkpoint"] = measured([*make, "--max_shard_size", arguments.max_shard_size])
    shards = [path.stat().st_size for path in source.glob("*.safetensors")]
    result |= {"shards": len(shards), "largest_shard_gb": round(max(shards) / 1e9, 3)}
    result["import_hf"] = measured([*command, "import-hf", str(source), str(imported)])
    result["checkpoint_gb"] = round(size_of(imported) / 1e9, 3)
    out = [*command, "export-hf", str(imported), str(exported), "--dtype", "bfloat16"]
    result["export_hf"] = measured([*out, "--max_shard_size", arguments.max_shard_size])
    same = [filecmp.cmp(source / path.name, path, shallow=False) for path in exported.glob("*.safetensors")]
    result["exported_files_equal_the_source"] = len(same) == len(shards) and all(same)
    if arguments.lora_steps:
        shutil.rmtree(exported)
        result["lora"] = {"steps": arguments.lora_steps, "frozen_dtype": arguments.frozen_dtype}
        result["train_lora"] = measured([*command, "train", *_lora(imported, tuned, arguments)])
        result["adapter_checkpoint_gb"] = round(size_of(tuned / "checkpoints") / 1e9, 3)
        result["export_adapter"] = measured([*command, "export-hf", str(tuned), str(adapter), "--adapter"])
        whole = [*command, "export-hf", str(tuned), str(merged), "--dtype", "bfloat16"]
        result["export_merged"] = measured([*whole, "--max_shard_size", arguments.max_shard_size])
        result["merged_gb"] = round(size_of(merged) / 1e9, 3)
    for name in ("import_hf", "export_hf"):
        result[name]["peak_over_largest_shard"] = round(result[name]["peak_rss_gb"] / result["largest_shard_gb"], 3)
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    for folder in (source, imported, exported, tuned, adapter, merged):
        shutil.rmtree(folder, ignore_errors=True)


def _lora(base: Path, tuned: Path, arguments: argparse.Namespace) -> list[str]:
    """What `flan-jax train` takes to train adapters on the imported weights, on the embedded tasks in bytes."""
    files = ("models/preset.gin", "runs/finetune.gin", "runs/lora.gin")
    macros = {
        "PRESET": arguments.preset, "INITIAL_CHECKPOINT_PATH": str(base), "MODEL_DIR": str(tuned), "VOCABULARY": "bytes",
        "MIXTURE_OR_TASK_NAME": "mini", "TASK_FEATURE_LENGTHS": {"inputs": 48, "targets": 16}, "BATCH_SIZE": 1,
        "TRAIN_STEPS": arguments.lora_steps, "LOG_PERIOD": 1, "FROZEN_DTYPE": arguments.frozen_dtype,
    }  # fmt: skip
    bindings = [f"--gin.{name}={value!r}" for name, value in macros.items()]
    return [*(part for file in files for part in ("--gin_file", file)), *bindings, "--gin.EvalConfig.suites=()"]


if __name__ == "__main__":
    main()
