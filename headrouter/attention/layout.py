"""Name the places where a model attends, and map the tokens of its sequence."""

from dataclasses import dataclass, field
from typing import Literal, final

Stream = Literal["dual", "single", "image"]


@final
@dataclass(frozen=True, slots=True)
class Site:
    """Names one place where a model attends.

    Attributes:
        index: Number among the joint sites in execution order. An image-only site carries its block's number.
        path: Module path in the model, for messages.
        stream: ``dual``: text and image have own weights; ``single``: shared ones; ``image``: image tokens only, no joint site.
        heads: Number of attention heads.
        text_output: Whether the model uses the output of the text queries.
    """

    index: int
    path: str
    stream: Stream
    heads: int
    text_output: bool = True


@final
@dataclass(frozen=True, slots=True)
class ReferenceTokens:
    """Locates the tokens of one reference picture, which the model is given beside the picture that it makes.

    Attributes:
        tokens: Positions ``start:stop`` in the joint sequence.
        grid: Rows and columns of these tokens, in row-major order.
    """

    tokens: slice
    grid: tuple[int, int]


@final
@dataclass(frozen=True, slots=True)
class TokenLayout:
    """Maps the joint sequence: which positions are text, which are image, and which are reference pictures.

    Attributes:
        text, image: Positions ``start:stop`` of each part.
        grid: Rows and columns of the image tokens, in row-major order.
        segments: The text's parts by tokenizer, ``(name, length)`` in order; their lengths add up to the text's.
        registers: Positions of learnt tokens that are neither; empty in most models.
        padding: Positions of learnt tokens that fill text or image up to a length; they attend and are attended to.
        references: Tokens of each reference picture, in the order in which the model is given them; empty in most runs.

    >>> layout = TokenLayout(text=slice(0, 7), image=slice(7, 19), grid=(3, 4), segments=(("t5", 7),))
    >>> layout.length
    19
    """

    text: slice
    image: slice
    grid: tuple[int, int]
    segments: tuple[tuple[str, int], ...]
    registers: slice = field(default_factory=lambda: slice(0, 0))
    padding: tuple[slice, ...] = ()
    references: tuple[ReferenceTokens, ...] = ()

    def __post_init__(self) -> None:
        """Check that the parts tile the sequence."""
        text, image, rows_columns = self.text, self.image, self.grid[0] * self.grid[1]
        parts = sorted((part.start, part.stop) for part in self.parts if part.stop > part.start)
        assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])], (
            f"text {text}, image {image}, registers {self.registers}, padding {self.padding} and references {self.references} must"
            " follow each other from 0"
        )
        assert image.stop - image.start == rows_columns, f"{image} does not hold a grid of {self.grid}"
        for own in self.references:
            assert own.tokens.stop - own.tokens.start == own.grid[0] * own.grid[1], (
                f"{own.tokens} is no grid of {own.grid}"
            )
        assert sum(length for _, length in self.segments) == text.stop - text.start, "text segments do not add up"

    @property
    def parts(self) -> tuple[slice, ...]:
        """Return all parts, which tile the sequence: text, image, registers, each piece of padding, each reference picture."""
        return self.text, self.image, self.registers, *self.padding, *(own.tokens for own in self.references)

    @property
    def length(self) -> int:
        """Return the number of tokens in the sequence."""
        return int(max(part.stop for part in self.parts))
