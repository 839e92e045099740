"""Define editors that are no composition of headrouter's parts, to compare with."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from PIL import Image

from headrouter.config.configuration import Parameters


@dataclass(frozen=True, eq=False)
class EditRequest:
    """Holds what an editor is asked.

    Attributes:
        picture: RGB.
        source_prompt, prompt, instruction: Texts of the data set's item; empty where it has none.
        seed: Of all noise.
    """

    picture: Image.Image
    source_prompt: str
    prompt: str
    instruction: str
    seed: int


Edit: TypeAlias = Callable[[EditRequest], Image.Image]
"""Returns the edited picture, RGB, of the size of the picture."""


class OtherEditor(Parameters, abc.ABC):
    """Holds the parameters of an editor that is no composition of headrouter's parts."""

    @property
    def needs(self) -> frozenset[str]:
        """Return the texts of an item that it edits by: ``source_prompt``, ``instruction``.

        With these parameters; an item that lacks one is refused before anything runs.
        """
        return frozenset()

    @property
    @abc.abstractmethod
    def revision(self) -> str:
        """Return a hash of the weights and the code: other results, another revision."""

    def check(self) -> None:
        """Look for weights and programs without loading them; :class:`InvalidInputError` for what is missing."""

    @abc.abstractmethod
    def load(self, device: torch.device) -> Edit:
        """Load the weights, and return the function that edits."""
