"""Batch prompts: padded on the right to the longest, with a mask of text and padding.

The prompt itself states which axes of a tensor run over text tokens, so masks of any rank follow its length.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional

from headrouter.prompts.prompt import Prompt


def text_length(prompts: Sequence[Prompt]) -> int:
    """Return the number of text tokens of the longest prompt."""
    return max(_length(prompt) for prompt in prompts)


def stacked(prompts: Sequence[Prompt], name: str) -> Tensor:
    """Return a tensor of all prompts, ``[rows, ...]``, its text axes filled up with zeros on the right.

    >>> one, two = (Prompt("", {"e": torch.ones(1, length, 1)}, text_axes={"e": (1,)}) for length in (1, 2))
    >>> stacked([one, two], "e").flatten(1).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    length = text_length(prompts) if any(name in prompt.text_axes for prompt in prompts) else 0
    return torch.cat([_filled(prompt, name, length) for prompt in prompts])


def text_mask(prompts: Sequence[Prompt], device: torch.device | str = "cpu") -> Bool[Tensor, "rows tokens"]:
    """Return which text tokens of a batch are a prompt's own: False where a shorter prompt is filled up.

    >>> one, two = (Prompt("", {"e": torch.ones(1, length, 1)}, text_axes={"e": (1,)}) for length in (1, 2))
    >>> text_mask([one, two]).tolist()
    [[True, False], [True, True]]
    """
    places = torch.arange(text_length(prompts), dtype=torch.long, device=device)
    return torch.stack([places < _length(prompt) for prompt in prompts])


def _length(prompt: Prompt) -> int:
    assert prompt.length is not None, f"`text_axes` of the prompt {prompt.text!r} names no axis"
    return prompt.length


def _filled(prompt: Prompt, name: str, length: int) -> Tensor:
    tensor, axes = prompt.tensors[name], prompt.text_axes.get(name, ())
    missing = length - _length(prompt) if axes else 0
    if not missing:
        return tensor
    after = [missing if axis in axes else 0 for axis in range(tensor.ndim)]
    return functional.pad(tensor, [side for count in reversed(after) for side in (0, count)])
