"""PyTorch with transformers as a peer of benchmarks: the same sizes, loss and optimiser."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.models.build import ModelConfig
from flan_jax.models.huggingface.t5 import fields_from_config
from flan_jax.models.t5.config import T5Config

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def model_of(config: ModelConfig, *, device: str, lora_rank: int = 0, dtype: str = "float32") -> Any:
    """transformers' network of these sizes with random parameters; adapters on queries and values by PEFT."""
    import torch
    import transformers

    with torch.device(device):
        if isinstance(config, T5Config):
            of_sizes = transformers.T5Config(
                vocab_size=config.vocab_size, d_model=config.d_model, d_kv=config.d_kv, num_heads=config.num_heads,
                d_ff=config.d_ff, num_layers=config.num_encoder_layers, num_decoder_layers=config.num_decoder_layers,
                feed_forward_proj=fields_from_config(config)["feed_forward_proj"], tie_word_embeddings=config.tie_embeddings, dropout_rate=config.dropout_rate,
                relative_attention_num_buckets=config.relative_attention_num_buckets, use_cache=False,
                relative_attention_max_distance=config.relative_attention_max_distance,
                decoder_start_token_id=config.decoder_start_id, attn_implementation="sdpa",
            )  # fmt: skip
            model = transformers.T5ForConditionalGeneration(of_sizes)
        else:
            if config.dropout_rate:
                raise UserError("The decoder of transformers that is the peer has no dropout: give dropout_rate=0.")
            of_sizes = transformers.LlamaConfig(
                vocab_size=config.vocab_size, hidden_size=config.d_model, intermediate_size=config.d_ff,
                num_hidden_layers=config.num_layers, num_attention_heads=config.num_heads, head_dim=config.d_head,
                num_key_value_heads=config.num_kv_heads, rms_norm_eps=config.norm_epsilon, use_cache=False,
                max_position_embeddings=config.max_positions, tie_word_embeddings=config.tie_embeddings,
                attn_implementation="sdpa",
            )  # fmt: skip
            model = transformers.LlamaForCausalLM(of_sizes)
    if lora_rank:
        import peft

        # As ours: an alpha of 16, no dropout, on queries and values.
        adapters = peft.LoraConfig(r=lora_rank, lora_alpha=16, target_modules=["q_proj", "v_proj"])
        model = peft.get_peft_model(model, adapters)
    return model.to(getattr(torch, dtype))


def make_step(
    config: ModelConfig,
    batch: Mapping[str, np.ndarray],
    *,
    optimizer: str,
    learning_rate: float,
    seed: int,
    device: str,
    compiled: bool = False,
    remat: bool = False,
    lora_rank: int = 0,
) -> Callable[[], float | Any]:
    """A call that takes one training step on the batch and returns the loss.

    Parameters are float32; products are in ``config.dtype``, by autocast where it is bfloat16. What padding there
    is gets no weight, and is not attended to.
    """
    import torch

    torch.manual_seed(seed)
    model = model_of(config, device=device, lora_rank=lora_rank).train()
    if remat:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if optimizer == "adamw":
        rule: Any = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0, fused=True)
    else:
        rule = torch.optim.Adafactor(trained, lr=learning_rate)
    given = {name: torch.as_tensor(values, device=device) for name, values in batch.items()}
    labels = torch.where(given["decoder_segment_ids"] > 0, given["decoder_target_tokens"], -100).long()
    padded = bool((batch["decoder_segment_ids"] == 0).any())
    if isinstance(config, T5Config):
        inputs = {
            "input_ids": given["encoder_input_tokens"].long(),
            "decoder_input_ids": given["decoder_input_tokens"].long(),
        }
        masks = {"attention_mask": given["encoder_segment_ids"], "decoder_attention_mask": given["decoder_segment_ids"]}
    else:
        inputs, masks = (
            {"input_ids": given["decoder_input_tokens"].long()},
            {"attention_mask": given["decoder_segment_ids"]},
        )
    if padded:
        inputs |= masks

    def loss_of() -> Any:
        logits = model(**inputs, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100)

    # The loss is compiled with the network, so that the compiler may fuse what is between them.
    forward = torch.compile(loss_of) if compiled else loss_of

    def step() -> Any:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=config.dtype == "bfloat16"):
            loss = forward()
        loss.backward()
        rule.step()
        rule.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def peak_memory(device: str) -> int | None:
    """Bytes of the device that this process's PyTorch had in use at most; ``None`` on a CPU, where it is not counted."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if device == "cuda" else None
