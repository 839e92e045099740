"""Provide a multimodal diffusion transformer in pure PyTorch, which runs in milliseconds and can be edited with.

Random weights from a seed. Words are embedded by their spelling; latents are the pixels themselves, 4×4 blocks turned into
channels, so encoding and decoding are exact inverses.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from headrouter.attention.joint_attention import JointAttention, ReferenceTokens, Site, Stream, TextStream, TokenLayout
from headrouter.attention.rows import BatchRow, Row, batch_rows, guided_velocity
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.models.backbone import AttentionListener, Backbone, BackboneParameters, Defaults
from headrouter.models.surroundings import undisturbed
from headrouter.prompts.marks import without_marks
from headrouter.prompts.prompt import Prompt, Token

TEXT_TOKENS = 8
_BLOCK = 4
_CHANNELS = 3 * _BLOCK**2


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a layer without drawn weights, so that the random state of the process stays as it is."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    assert isinstance(layer, nn.Linear)
    return layer


@final
class _Block(nn.Module):
    """Computes joint attention and a feed-forward layer; ``dual``: own projections for text, ``single``: shared ones."""

    def __init__(self, width: int, heads: int, stream: Stream):
        super().__init__()
        self.heads, self.stream = heads, stream
        self.image_qkv = _linear(width, 3 * width)
        self.text_qkv = _linear(width, 3 * width) if stream == "dual" else self.image_qkv
        self.image_out = _linear(width, width)
        self.text_out = _linear(width, width) if stream == "dual" else self.image_out
        self.feed_forward = nn.Sequential(_linear(width, 2 * width), nn.GELU(), _linear(2 * width, width))

    def split(self, projected: Tensor) -> tuple[Tensor, ...]:
        rows, tokens, _ = projected.shape
        parts = projected.view(rows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return tuple(functional.normalize(part, dim=-1) * 4 if index < 2 else part for index, part in enumerate(parts))


@final
class ToyMMDiT(nn.Module, Backbone):
    """Runs two dual-stream blocks and one single-stream block, of four heads of eight channels.

    Args:
        seed: Of the random weights.
        text_first: Whether text comes first in the joint sequence (as in Flux) or last (as in SD3).
        pictures: Training pictures are ``pictures`` × ``pictures`` pixels.
    """

    @undisturbed()
    def __init__(self, seed: int = 0, *, text_first: bool = True, pictures: int = 32):
        """Draw the weights."""
        super().__init__()
        width, heads = 32, 4
        self.text_first, self.pictures = text_first, pictures
        streams: tuple[Stream, ...] = ("dual", "dual", "single")
        self.blocks = nn.ModuleList(_Block(width, heads, stream) for stream in streams)
        self.image_in, self.image_final = _linear(_CHANNELS, width), _linear(width, _CHANNELS)
        self.text_in, self.time_in = _linear(16, width), _linear(2, width)
        self.requires_grad_(False).eval()
        generator = torch.Generator().manual_seed(seed)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                for tensor in (part.weight, part.bias):
                    tensor.uniform_(-(part.in_features**-0.5), part.in_features**-0.5, generator=generator)
        self._sites = tuple(
            Site(i, f"blocks.{i}", stream, heads, text_output=i + 1 < len(streams)) for i, stream in enumerate(streams)
        )
        self._listener: AttentionListener | None = None

    @property
    def name(self) -> str:
        """Return a short name with the model."""
        return "toy"

    @property
    def provides(self) -> frozenset[str]:
        """Return every word that an image model can provide."""
        return frozenset(
            {
                "joint-attention",
                "text-stream",
                "single-stream",
                "prompt-words",
                "guidance",
                "negative-prompt",
                "encode-image",
                "reference-pictures",
            }
        )

    @property
    def most_references(self) -> int:
        """Return two."""
        return 2

    @property
    def sites(self) -> tuple[Site, ...]:
        """Return three joint sites."""
        return self._sites

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.image_in.weight.device

    @property
    def defaults(self) -> Defaults:
        """Return few steps."""
        return Defaults(steps=8, guidance=3.0, area=self.pictures**2, word_blocks=(2, 1))

    @property
    def size_multiple(self) -> int:
        """Return the side of a block in pixels."""
        return _BLOCK

    @undisturbed()
    def encode_prompts(self, texts: Sequence[str]) -> list[Prompt]:
        """Encode prompts to one token a word, at most eight."""
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Prompt:
        spelling = without_marks(text)
        words = spelling.text.split()
        if len(words) > TEXT_TOKENS:
            raise InvalidInputError(
                f"`prompt` has {len(words)} words, this model reads {TEXT_TOKENS}; cut: {words[TEXT_TOKENS:]}"
            )
        embedding, tokens, start = torch.zeros(1, TEXT_TOKENS, 16, dtype=torch.float32, device="cpu"), [], 0
        for position, word in enumerate(words):
            start = spelling.text.index(word, start)
            tokens.append(Token("words", position, *spelling.origin(start, start + len(word))))
            start += len(word)
            digest = hashlib.sha256(word.strip(".,!?").lower().encode()).digest()
            embedding[0, position] = torch.tensor([byte / 128 - 1 for byte in digest[:16]])
        return Prompt(text, {"embedding": embedding.to(self.device)}, tuple(tokens))

    def encode_image(self, pixels: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images channels h w"]:
        """Turn blocks of pixels into channels."""
        return functional.pixel_unshuffle(pixels.to(self.device, torch.float32), _BLOCK)

    def decode(self, latents: Float[Tensor, "rows channels h w"]) -> Float[Tensor, "rows 3 height width"]:
        """Turn channels into blocks of pixels."""
        return functional.pixel_shuffle(latents, _BLOCK)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return channels, rows and columns."""
        return _CHANNELS, height // _BLOCK, width // _BLOCK

    def sigmas(self, steps: int, width: int, height: int) -> Float[Tensor, "steps_plus_1"]:
        """Return a uniform grid shifted by 2."""
        uniform = torch.linspace(1, 0, steps + 1, dtype=torch.float64, device="cpu")
        return 2 * uniform / (1 + uniform)

    def batch_size(self, rows: Sequence[Row]) -> int:
        """Return two branches for each guided row."""
        return len(batch_rows(rows))

    @undisturbed()
    def velocity(
        self, latents: Float[Tensor, "rows channels h w"], sigma: float, rows: Sequence[Row]
    ) -> Float[Tensor, "rows channels h w"]:
        """Return the velocity under classifier-free guidance, by one call."""
        return guided_velocity(lambda batch, items: self._predict(batch, sigma, items), latents, rows)

    @contextmanager
    def attach(self, listener: AttentionListener) -> Iterator[None]:
        """Attach ``listener`` until the context ends."""
        if self._listener is not None and not self._listener.finished:
            raise IncompatibleError("this model is being steered already; make a second editor with its own model")
        try:
            self._listener = listener
            yield
        finally:
            if self._listener is listener:
                self._listener = None

    def _predict(self, latents: Tensor, sigma: float, items: tuple[BatchRow, ...]) -> Tensor:
        rows, channels, height, width = latents.shape
        pictures = [latents, *self._references(items)]
        placed = [
            self.image_in(one.flatten(2).transpose(1, 2)) + _positions(one.shape[2], one.shape[3], 32).to(one) * 0.5**at
            for at, one in enumerate(pictures)
        ]
        image = torch.cat(placed, dim=1) + self.time_in(torch.tensor([sigma, 1 - sigma], device=latents.device))
        text = self.text_in(torch.cat([item.prompt.tensors["embedding"] for item in items]))
        layout = self._layout(text.shape[1], *((one.shape[2], one.shape[3]) for one in pictures))
        if self._listener is not None:
            self._listener.begin_forward(items, layout)
        for site, block in zip(self._sites, self.blocks, strict=True):
            assert isinstance(block, _Block)
            text, image = self._run(site, block, text, image, layout, items)
        velocity: Tensor = self.image_final(image[:, : height * width])
        return velocity.transpose(1, 2).reshape(rows, channels, height, width)

    def _run(
        self, site: Site, block: _Block, text: Tensor, image: Tensor, layout: TokenLayout, items: tuple[BatchRow, ...]
    ) -> tuple[Tensor, Tensor]:
        listener = self._listener
        if listener is not None:
            text = listener.text(TextStream(site, items, listener.step_info, text))
        parts = zip(block.split(block.text_qkv(text)), block.split(block.image_qkv(image)), strict=True)
        query, key, value = (torch.cat(pair if self.text_first else pair[::-1], dim=2) for pair in parts)
        if listener is None:
            output = functional.scaled_dot_product_attention(query, key, value)
        else:
            attend = functional.scaled_dot_product_attention
            event = JointAttention(site, layout, items, listener.step_info, query, key, value, attend, native=True)
            output = listener.attention(event)
        joined = output.transpose(1, 2).flatten(2)
        text = text + block.text_out(joined[:, layout.text])
        image = image + block.image_out(
            torch.cat([joined[:, part] for part in (layout.image, *(own.tokens for own in layout.references))], dim=1)
        )
        return text + block.feed_forward(text), image + block.feed_forward(image)

    def _references(self, items: tuple[BatchRow, ...]) -> list[Tensor]:
        every = [item.row.references for item in items]
        if len(every[0]) > self.most_references or len({tuple(one.shape for one in own) for own in every}) > 1:
            raise InvalidInputError("`references` must be two at most, and of the same sizes in all rows.")
        return [torch.cat(latents) for latents in zip(*every, strict=True)]

    def _layout(self, text: int, *grids: tuple[int, int]) -> TokenLayout:
        pictures, place = list[slice](), text if self.text_first else 0
        for height, width in grids:
            pictures.append(slice(place, place + height * width))
            place = pictures[-1].stop
        words = slice(0, text) if self.text_first else slice(place, place + text)
        references = tuple(map(ReferenceTokens, pictures[1:], grids[1:]))
        return TokenLayout(words, pictures[0], grids[0], (("words", text),), references=references)


def _positions(height: int, width: int, channels: int) -> Tensor:
    """Return sine positions of the grid's tokens, row-major, ``[height·width, channels]``."""
    frequencies = torch.arange(1, channels // 4 + 1, dtype=torch.float32, device="cpu")
    rows = torch.arange(height, dtype=torch.float32, device="cpu")[:, None, None].expand(height, width, 1) / height
    columns = torch.arange(width, dtype=torch.float32, device="cpu")[None, :, None].expand(height, width, 1) / width
    angles = torch.cat([rows * frequencies, columns * frequencies], dim=-1) * torch.pi
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(0, 1)


@final
class ToyParameters(BackboneParameters):
    """Sets how the toy is made."""

    seed: int = 0

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Draw the weights; there is nothing to load."""
        return ToyMMDiT(self.seed)
