"""HeadRouter is its three parts: each alone is HeadRouter without the others, and all together are the whole."""

from typing import Any

import pytest
import torch
from headrouter_inversions.euler import Euler

from headrouter import Editor
from headrouter.attention.rows import Row
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.head_router.head_routing import HeadRouting
from headrouter.methods.head_router.head_weights import head_weights
from headrouter.methods.head_router.image_tokens import ImageTokenRefinement
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.head_router.text_mixing import TextMixing
from headrouter.methods.method import Method
from headrouter.sampling.engine import Engine, Sampled
from headrouter.sampling.inversion import RunInputs
from headrouter.sampling.noise import Noise
from headrouter.testing import MethodConformance, MethodSubject
from headrouter.testing.toy import ToyMMDiT

OFF: dict[str, Any] = {"gamma": 0.0, "image_tokens": "off", "rho": 0.0}
STEPS = 4


def sample(toy: ToyMMDiT, *methods: Method) -> Sampled:
    """A source and an edit from noise."""
    source, edit, negative = toy.encode_prompts(["a red cat", "a blue dog", ""])
    noise = Noise([3], toy.latent_shape(32, 24), toy.device)
    inputs = RunInputs(tuple(toy.sigmas(STEPS, 32, 24).tolist()), noise("start", 0), noise, noise("start", 0))
    rows = [Row(source, negative, 3.0), Row(edit, negative, 3.0, edit=0)]
    return Engine(toy).sample(Euler(), methods, rows, inputs, keep_source=True)


class TestConformance(MethodConformance):
    @pytest.fixture(
        params=[
            MethodSubject("head-routing", HeadRouting(gamma=1.0), HeadRouting(gamma=0.0)),
            MethodSubject("image-tokens", ImageTokenRefinement(), ImageTokenRefinement(nu=0.0)),
            MethodSubject("text-mixing", TextMixing(rho=0.3), TextMixing(rho=0.0)),
        ],
        ids=lambda subject: subject.name,
    )
    def method(self, request: pytest.FixtureRequest) -> Any:
        return request.param


@pytest.mark.parametrize(
    ("part", "values"),
    [
        (HeadRouting, {"gamma": 1.0, "form": "anchored", "start": 1}),
        (HeadRouting, {"gamma": 1.0, "amplify": "output", "where": "words"}),
        (ImageTokenRefinement, {"image_tokens": "attention", "nu": 3.0, "keys": "all", "layers": (0, 2)}),
        (ImageTokenRefinement, {"image_tokens": "features", "token_form": "centred"}),
        (TextMixing, {"rho": 0.3, "text_rows": "both", "text_blocks": "all"}),
    ],
    ids=["routing", "routing-words", "image", "features", "text"],
)
def test_a_part_alone_is_head_router_without_the_others(part: type[Method], values: dict[str, Any]) -> None:
    alone, without = sample(ToyMMDiT(), part(**values)), sample(ToyMMDiT(), HeadRouter(**{**OFF, **values}))
    assert torch.equal(alone.latents, without.latents)
    assert (alone.latents - sample(ToyMMDiT()).latents).abs().max() > 1e-4
    for name, value in alone.diagnostics[0].items():
        assert torch.equal(value.nan_to_num(-1), without.diagnostics[0][name].nan_to_num(-1))


def test_the_parts_in_a_list_are_head_router() -> None:
    """Routing first: it measures what the kernel gave. Differences and refinements add up, in whatever order but for rounding."""
    parts = [HeadRouting(gamma=1.0), ImageTokenRefinement(), TextMixing()]
    whole, listed = sample(ToyMMDiT(), HeadRouter(gamma=1.0)), sample(ToyMMDiT(), *parts)
    torch.testing.assert_close(whole.latents, listed.latents, atol=1e-5, rtol=1e-5)


def test_uniform_scores_give_every_head_the_largest_weight() -> None:
    sampled = sample(ToyMMDiT(), HeadRouting(scorer="uniform", gamma=0.7, k=4.0))
    expected = head_weights(torch.ones(4), 0.7, 4.0, 0.5)
    torch.testing.assert_close(sampled.diagnostics[0]["head_weights"], expected.expand(1, STEPS, 3, 4))
    assert "dissimilarity" not in sampled.diagnostics[0]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (HeadRouting(), "Head routing compares"),
        (HeadRouting(scorer="uniform"), "`method.amplify` 'difference' compares"),
        (HeadRouting(scorer="uniform", amplify="output", where="words"), "`method.where` 'words' compares"),
        (ImageTokenRefinement(), "`method.keys` 'changed' compares"),
    ],
)
def test_what_compares_needs_a_source(method: Method, said: str) -> None:
    with pytest.raises(IncompatibleError, match=said):
        Editor(ToyMMDiT(), "euler", None, progress=False).generate(["a dog"], steps=1, method=method)


def test_refinement_that_is_off_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'off' leaves nothing to refine"):
        sample(ToyMMDiT(), ImageTokenRefinement(image_tokens="off"))
