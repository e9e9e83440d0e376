"""Small random instances of public classes, saved as their packages save them."""

from __future__ import annotations

from pathlib import Path

import torch


def _shuffled(module, seed: int, spread: float):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread * fan_in**-0.5)
            else:
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    return module.eval()


def save_wan_vae(folder: Path, **changes):
    """A Wan 2.1 codec of a thousandth of the size, 4 latent channels."""
    from diffusers import AutoencoderKLWan

    sizes = {"base_dim": 4, "z_dim": 4, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1}
    scale = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [0.5, 1.0, 2.0, 1.5]}
    vae = _shuffled(AutoencoderKLWan(**{**sizes, **scale, **changes}), 1, 1.5)
    vae.save_pretrained(folder)
    return vae


def save_mimi(folder: Path, **changes):
    """A Mimi of 16 channels, with a window of 6 steps (one and a half units)."""
    from transformers import MimiConfig, MimiModel

    sizes = {
        "hidden_size": 16, "num_filters": 4, "num_hidden_layers": 2, "intermediate_size": 32, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 6, "upsample_groups": 16, "codebook_size": 8,
        "codebook_dim": 8, "vector_quantization_hidden_dimension": 8, "num_quantizers": 2,
    }  # fmt: skip
    mimi = _shuffled(MimiModel(MimiConfig(**{**sizes, **changes})), 2, 1.0)
    mimi.save_pretrained(folder)
    return mimi


def save_qwen(folder: Path, version: str = "2.5", tied: bool = True, shard: str = "1GB", **changes):
    """A language model of 3 layers and 101 words."""
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

    config, model = (Qwen2Config, Qwen2ForCausalLM) if version == "2.5" else (Qwen3Config, Qwen3ForCausalLM)
    sizes = {
        "vocab_size": 101, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 128, "tie_word_embeddings": tied,
    }  # fmt: skip
    if version == "3":
        sizes["head_dim"] = 24
    qwen = _shuffled(model(config(**{**sizes, **changes})), 3, 1.0)
    qwen.save_pretrained(folder, max_shard_size=shard)
    return qwen


def save_tokenizer(folder: Path, size: int = 300, pad: str | None = "<|endoftext|>"):
    """A byte-level tokenizer of the kind that Qwen has, trained on a few sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(["hello there, what is the colour of the card?", "the card is red"] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, pad_token=pad, eos_token="<|im_end|>")
    fast.save_pretrained(folder)
    return fast
