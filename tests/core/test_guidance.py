"""A prompt that would have no weight is refused: the prompt at guidance 0, the negative one at guidance 1."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from headrouter_diffusers.testing import tiny_flux
from headrouter_flux.parameters import FluxParameters
from headrouter_inversions.euler import Euler
from headrouter_inversions.flowedit import FlowEdit
from PIL import Image

from headrouter import Editor
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.models.backbone import Defaults
from headrouter.testing.toy import ToyMMDiT

PICTURE = Image.new("RGB", (32, 32), "teal")


class Distilled(ToyMMDiT):  # type: ignore[misc]
    """A model whose own guidance is 1."""

    @property
    def defaults(self) -> Defaults:
        return Defaults(steps=2, guidance=1.0, area=32 * 32)


def editor(inversion: Any = "euler", backbone: Any = None) -> Editor:
    return Editor(backbone or ToyMMDiT(), inversion, "none", progress=False)


def uses(tool: Editor, **asked: Any) -> list[Callable[[], Any]]:
    return [
        lambda: tool.edit(PICTURE, "a dog", steps=2, **asked),
        lambda: tool.reconstruct(PICTURE, "a cat", steps=2, **asked),
        lambda: tool.generate("a dog", steps=2, **asked),
    ]


@pytest.mark.parametrize("use", range(3))
def test_guidance_0_in_two_passes_is_refused(use: int) -> None:
    with pytest.raises(InvalidInputError, match=r"`guidance` 0 would evaluate the negative prompt alone.*`guidance=1`"):
        uses(editor(), guidance=0)[use]()


@pytest.mark.parametrize("inversion", [Euler(guidance=0), FlowEdit(guidance=0)])
def test_guidance_0_of_an_inversion_is_refused(inversion: Any) -> None:
    with pytest.raises(InvalidInputError, match="`guidance` 0"):
        editor(inversion).edit(PICTURE, "a dog", steps=2)


def test_an_inversion_at_guidance_0_on_purpose_works() -> None:
    assert editor("rf").edit(PICTURE, "a dog", "a cat", steps=2, guidance=1).image.size == PICTURE.size
    assert editor("rf").invert(PICTURE, "a cat", steps=2).cost.rows == 2


def test_a_model_with_embedded_guidance_takes_0() -> None:
    tool = editor(backbone=FluxParameters().load("tiny", tiny_flux()))
    first, second = (
        np.asarray(tool.edit(PICTURE, prompt, steps=2, size=(32, 32), guidance=0).image)
        for prompt in ("a dog", "a cat")
    )
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("use", range(3))
@pytest.mark.parametrize(
    ("backbone", "asked"), [(ToyMMDiT, {"guidance": 1}), (Distilled, {})], ids=["asked", "default"]
)
def test_a_negative_prompt_at_guidance_1_is_refused(backbone: Any, asked: dict[str, Any], use: int) -> None:
    with pytest.raises(IncompatibleError, match=r"`negative_prompt` 'grey' .* at guidance 1 toy .*`guidance` above 1"):
        uses(editor(backbone=backbone()), negative_prompt="grey", **asked)[use]()
    uses(editor(backbone=backbone()), negative_prompt="grey", guidance=2)[use]()


@pytest.mark.parametrize("inversion", ["rf", "euler"])
def test_a_negative_prompt_of_an_inversion_without_guidance_is_refused(inversion: str) -> None:
    with pytest.raises(IncompatibleError, match=f"`negative_prompt` 'grey' .*'{inversion}' inverts without guidance"):
        editor(inversion).invert(PICTURE, "a cat", steps=2, negative_prompt="grey")
