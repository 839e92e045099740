"""Name the parts that can be replaced, arXiv:2508.07519: image or text, query, key or value."""

from typing import Final, Literal

from headrouter.attention.joint_attention import TokenLayout

Name = Literal["qi", "ki", "qiki", "qk", "qikt", "qtki", "qtkt", "kivi", "I2I", "T2I", "I2T", "T2T"]
Tensors = Literal["query", "key", "value"]
Tokens = Literal["image", "text", "all"]

PROJECTIONS: Final[dict[str, tuple[tuple[Tensors, Tokens], ...]]] = {
    "qi": (("query", "image"),),
    "ki": (("key", "image"),),
    "qiki": (("query", "image"), ("key", "image")),
    "qk": (("query", "all"), ("key", "all")),
    "qikt": (("query", "image"), ("key", "text")),
    "qtki": (("query", "text"), ("key", "image")),
    "qtkt": (("query", "text"), ("key", "text")),
    "kivi": (("key", "image"), ("value", "image")),
}
"""Which tokens of which tensors each name means. ``qk`` means every token, learnt ones (registers) too."""

OF_THE_IMAGE: Final = ("qi", "ki", "qiki", "kivi")
"""The names that concern image tokens alone, which have a place in the picture."""

REGIONS: Final[dict[str, tuple[Literal["image", "text"], Literal["image", "text"]]]] = {
    "I2I": ("image", "image"),
    "T2I": ("image", "text"),
    "I2T": ("text", "image"),
    "T2T": ("text", "text"),
}
"""Queries and keys of each region of the attention matrix. A name reads "keys to queries": T2I is text keys, image queries."""


def positions(layout: TokenLayout, tokens: Tokens) -> slice:
    """Return positions of these tokens in the joint sequence.

    >>> layout = TokenLayout(text=slice(0, 7), image=slice(7, 19), grid=(3, 4), segments=(("t5", 7),))
    >>> positions(layout, "image"), positions(layout, "all")
    (slice(7, 19, None), slice(0, 19, None))
    """
    return {"image": layout.image, "text": layout.text, "all": slice(0, layout.length)}[tokens]
