"""A byte-level tokenizer of Qwen's kind: one token for each byte, but for the word "cat" and special tokens."""

from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer


def byte_tokenizer(**options: str) -> Qwen2Tokenizer:
    """Make a tokenizer with a fixed vocabulary."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: number for number, token in enumerate([*sorted(ByteLevel.alphabet()), "ca", "cat", *special])}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[("c", "a"), ("ca", "t")], model_max_length=1024, **options)
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    return tokenizer
