"""Build tokenizers whose vocabulary covers the world: one token a word, pieces for anything else."""

import itertools
import string
from collections import Counter
from typing import Final

from transformers import CLIPTokenizer, T5Tokenizer

from headrouter_shapes.world.vocabulary import world_words

PROMPT_TOKENS: Final = 20
"""Length of a prompt for every tokenizer, special tokens included: the longest caption has 18 tokens."""

_BEGIN, _END, _WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
_CHARACTERS: Final = string.ascii_letters + string.digits + ".,:;!?'\"()-"


def _byte_symbols() -> list[str]:
    """Return the 256 printable symbols that byte-level tokenizers write bytes as."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def _merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Learn byte-pair merges until every word is a single token; ties go to the alphabetically first pair."""
    spellings = [[*word[:-1], word[-1] + _WORD_END] for word in words]
    merges: list[tuple[str, str]] = []
    while any(len(spelling) > 1 for spelling in spellings):
        pairs = Counter(pair for spelling in spellings for pair in itertools.pairwise(spelling))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spellings = [_apply(spelling, best) for spelling in spellings]
    return merges


def _apply(spelling: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in spelling:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def build_clip_tokenizer(words: tuple[str, ...] = world_words()) -> CLIPTokenizer:
    """Return a byte-pair tokenizer that ends and pads with ``<|endoftext|>``, as FLUX.1's and SD3's do."""
    symbols = _byte_symbols()
    merges = _merges(words)
    tokens = [*symbols, *(symbol + _WORD_END for symbol in symbols), *("".join(pair) for pair in merges), _BEGIN, _END]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=PROMPT_TOKENS)


def build_t5_tokenizer(words: tuple[str, ...] = world_words()) -> T5Tokenizer:
    """Return a unigram tokenizer with a piece for each word and for each character."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [("▁" + word, -2.0) for word in words]
    pieces += [(character, -6.0) for character in _CHARACTERS]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=PROMPT_TOKENS)
