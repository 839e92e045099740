"""Keep masks, word maps and head weights of an edit as small maps of one byte a value, for its report."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor

from headrouter.prompts.prompt import Prompt

Diagnostic: TypeAlias = Literal["mask", "words", "heads"]
LARGEST: Final = 32
"""Rows and columns of a map; a larger one is averaged down."""
WORDS: Final = 4
"""Words of an edit whose maps are kept: the first that the source prompt does not have."""


def small_maps(
    asked: Sequence[Diagnostic], diagnostics: Sequence[Mapping[str, Tensor]], edit: int, prompt: Prompt, source: Prompt
) -> dict[str, Any]:
    """Return the maps of one edit, as plain data.

    Args:
        asked: Which maps.
        diagnostics: Of each method, tensors with the edits first.
        edit: Number of the edit in them.
        prompt, source: Its prompts.

    Returns:
        ``mask`` of the last step that had one; ``words``, by word, the mean over its tokens; ``heads``, the
        mean weight of each head over the steps, [layer, head]. What no method recorded is left out.
    """
    tensors: dict[str, Tensor] = {}
    for one in reversed(diagnostics):
        tensors |= {name: tensor[edit] for name, tensor in one.items()}
    found: dict[str, Any] = {}
    if "mask" in asked and "masks" in tensors:
        masks = [mask for mask in tensors["masks"] if not mask.isnan().any()]
        if masks:
            found["mask"] = packed(masks[-1])
    if "words" in asked and "text_maps" in tensors:
        words = list(dict.fromkeys(prompt.new_words(source)))[:WORDS]
        maps = {word: tensors["text_maps"][list(prompt.find(word))].mean(dim=0) for word in words}
        found["words"] = {word: packed(values) for word, values in maps.items()}
    if "heads" in asked and "head_weights" in tensors:
        found["heads"] = packed(tensors["head_weights"].nanmean(dim=0), shrink=False)
    return found


def packed(values: Tensor, *, shrink: bool = True) -> dict[str, Any]:
    """Return a map as plain data: its shape, its range, and a byte for each value, 1 to 255; 0 where there is none.

    >>> one = packed(torch.tensor([[0.0, 2.0], [1.0, torch.nan]]))
    >>> one["shape"], one["low"], one["high"], list(base64.b64decode(one["values"]))
    ([2, 2], 0.0, 2.0, [1, 255, 128, 0])
    """
    values = values.detach().float().cpu()
    if shrink and max(values.shape) > LARGEST:
        scale = LARGEST / max(values.shape)
        shape = max(1, round(values.shape[0] * scale)), max(1, round(values.shape[1] * scale))
        values = torch.nn.functional.adaptive_avg_pool2d(values[None, None], shape)[0, 0]
    there = values.isfinite()
    low, high = (float(values[there].min()), float(values[there].max())) if there.any() else (0.0, 0.0)
    bytes_ = torch.where(there, 1 + 254 * (values - low) / ((high - low) or 1.0), 0.0).round().to(torch.uint8)
    text = base64.b64encode(bytes_.numpy().tobytes()).decode()
    return {"shape": list(values.shape), "low": _short(low), "high": _short(high), "values": text}


def as_bytes(maps: Mapping[str, Any]) -> bytes:
    """Return the file of the maps of an edit."""
    return json.dumps(maps, ensure_ascii=False).encode()


def _short(value: float) -> float:
    return float(f"{value:.6g}")
