"""Writes a Hugging Face folder of random weights, tensor by tensor, for measurements on models of real sizes.

    python tools/dev/make_checkpoint.py FOLDER [--preset t5_1_1_xl] [--dtype bfloat16] [--max_shard_size 2GB]

The model is never in memory: each parameter is drawn a layer at a time. The values have the sizes that fresh
parameters have; they mean nothing.
"""

import argparse
import math
from pathlib import Path

import numpy as np

from flan_jax.models.build import ModelConfig, num_params
from flan_jax.models.huggingface import families, writer
from flan_jax.models.huggingface.tensors import places, shapes_of
from flan_jax.models.published import PRESETS


def write(folder: Path, config: ModelConfig, dtype: str, max_shard_bytes: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = writer.WeightsWriter(folder, config, dtype=dtype, max_shard_bytes=max_shard_bytes)
    rng = np.random.default_rng(0)
    for place in places(families.layout(config), shapes_of(config)):
        if len(place.shape) == 1:
            values = np.ones(place.shape, np.float32)
        else:
            values = rng.standard_normal(place.shape, np.float32)
            values *= 1 / math.sqrt(place.shape[-1])
        files.put_tensor(place.name, values)
    fields = {**families.fields_from_config(config), "torch_dtype": dtype}
    written = files.finish()
    writer.write_json(folder / "config.json", fields)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="t5_1_1_xl", choices=sorted(PRESETS), metavar="NAME")
    parser.add_argument("--dtype", default="bfloat16", choices=sorted(writer.DTYPES))
    parser.add_argument("--max_shard_size", default="2GB")
    arguments = parser.parse_args()
    config = PRESETS[arguments.preset]
    files = write(arguments.folder, config, arguments.dtype, writer.parse_size(arguments.max_shard_size))
    print(f"{num_params(config):,} parameters in {len(files)} files:")
    for file in files:
        print(f"  {file.name} {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
