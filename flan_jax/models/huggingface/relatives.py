"""Models that are near to one that is read and compute something else: the nearest, and what differs."""

from collections.abc import Mapping

_EXPERTS = "feed-forward layers are chosen among experts, token by token"
_IMAGES = "images are read beside the text, whose tokens they become"
_STATES = "most layers have a state in the place of attention, of another kind than Qwen 3.5's"

RELATIVES: Mapping[str, tuple[str, str]] = {  # model_type: (the nearest that is read, what differs)
    "umt5": ("mt5", "UMT5 has a table of position biases in every layer, T5 one for all"),
    "longt5": ("t5", "LongT5 attends to blocks"),
    "switch_transformers": ("t5", _EXPERTS),
    "mixtral": ("mistral", _EXPERTS),
    "qwen2_moe": ("qwen2", _EXPERTS),
    "qwen3_moe": ("qwen3", _EXPERTS),
    "qwen3_5_moe": ("qwen3_5_text", _EXPERTS),
    "qwen3_5_moe_text": ("qwen3_5_text", _EXPERTS),
    "qwen3_next": ("qwen3_5_text", _EXPERTS),
    "olmoe": ("olmo2", _EXPERTS),
    "gpt_oss": ("qwen3", f"{_EXPERTS}, and each head of attention has a sink"),
    "deepseek_v3": ("llama", f"{_EXPERTS}, and keys and values are projected from a shared narrow vector"),
    "llama4": ("llama", _EXPERTS),
    "llama4_text": ("llama", _EXPERTS),
    "glm4_moe": ("llama", _EXPERTS),
    "qwen2_vl": ("qwen2", _IMAGES),
    "qwen2_5_vl": ("qwen2", _IMAGES),
    "qwen3_vl": ("qwen3", _IMAGES),
    "mistral3": ("mistral", _IMAGES),
    "smolvlm": ("llama", _IMAGES),
    "idefics3": ("llama", _IMAGES),
    "llava": ("llama", _IMAGES),
    "paligemma": ("gemma", _IMAGES),
    "gemma3n": ("gemma4_text", "each layer has several streams, of which it predicts and corrects the others"),
    "gemma3n_text": ("gemma4_text", "each layer has several streams, of which it predicts and corrects the others"),
    "gemma4_assistant": ("gemma4_text", "it drafts for a Gemma 4, whose keys and values it reads"),
    "diffusion_gemma": ("gemma4_text", "it writes a text in many places at once"),
    "vaultgemma": ("gemma2", "its layers have no norms behind their parts"),
    "recurrent_gemma": ("gemma", _STATES),
    "modernbert": ("modernbert-decoder", "it reads a text in both directions; Ettin's decoders are read"),
    "bert": ("modernbert-decoder", "it reads a text in both directions; Ettin's decoders are read"),
    "phi3": ("llama", "its projections are fused, and long texts have rotary positions of their own"),
    "cohere": ("llama", "attention and feed-forward of a layer read the same input side by side"),
    "cohere2": ("llama", "attention and feed-forward of a layer read the same input side by side"),
    "granite": ("llama", "embeddings, scores, layers and logits have multipliers of their own"),
    "glm4": ("llama", "half of each head is rotated, in pairs of neighbors"),
    "olmo": ("olmo2", "its norms have no scale"),
    "lfm2": ("llama", "most layers have a short convolution in the place of attention"),
    "mamba": ("qwen3_5_text", _STATES),
    "mamba2": ("qwen3_5_text", _STATES),
    "nemotron_h": ("qwen3_5_text", _STATES),
    "ministral": ("mistral", "only some of its layers have the window"),
}
