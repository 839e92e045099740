"""Define metrics: numbers of an edited picture."""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from PIL import Image

from headrouter.config.configuration import Parameters
from headrouter.experiments.dataset import Item

Value: TypeAlias = bool | float | str | None
"""Of a column: a truth, of which a table has the rate; a number, of which it has the mean; a text; None where undefined."""


@dataclass(frozen=True, slots=True)
class Column:
    """Describes a number that a metric gives.

    Attributes:
        title: For tables: "preservation".
        unit: "dB"; empty for rates and numbers without unit.
        better: Which of two values is the better one; empty where neither is.
        digits: Digits behind the point in a table.
        scale: Factor of the value in a table: structure distances are given times 1000.
        given: Column of truths of the same metric: a value counts only where that one is true, and a paired difference only
            where it is true of both. An edit that changes nothing keeps everything, so what an edit keeps is compared where it
            succeeds.
    """

    title: str
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    digits: int = 2
    scale: float = 1.0
    given: str = ""


@dataclass(frozen=True, eq=False)
class Measured:
    """Holds an edit to be measured.

    Attributes:
        item: Of the data set.
        source, edit: The picture before and after, RGB, of one size.
    """

    item: Item
    source: Image.Image
    edit: Image.Image


Measure: TypeAlias = Callable[[Sequence[Measured]], Sequence[Mapping[str, Value]]]
"""Returns the columns of each edit."""


class Metric(Parameters, abc.ABC):
    """Holds the parameters of a metric; it loads its networks once a process, for all edits."""

    @property
    def needs(self) -> frozenset[str]:
        """Return the parts of an item that it measures by: ``mask``, ``truth``, ``source_prompt``.

        With these parameters; an item that lacks one is refused before anything runs.
        """
        return frozenset()

    @property
    @abc.abstractmethod
    def columns(self) -> Mapping[str, Column]:
        """Return the columns by name, ``psnr``; in records they come behind the metric's name, ``psnr-1.psnr``."""

    @property
    def revision(self) -> str:
        """Return a hash of the networks' weights; empty without networks."""
        return ""

    def check(self) -> None:
        """Look for the networks without loading them.

        Raises:
            InvalidInputError: one is missing; says where it was looked for, and how to get it.
        """

    @abc.abstractmethod
    def load(self, device: torch.device) -> Measure:
        """Load the networks, and return the function that measures, in evaluation mode and float32."""
