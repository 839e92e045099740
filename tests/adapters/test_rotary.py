"""Rotary embeddings that are kept over the calls of a run are those that the model would compute again."""

from typing import Any

import pytest
import torch
from diffusers.models.transformers import transformer_flux
from headrouter_diffusers.attention.rotary import KeptRotary
from headrouter_diffusers.packing import positions
from headrouter_diffusers.testing import tiny_flux

from .conftest import build, rows_of


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Axes that diffusers computes an embedding of, in order."""
    plain, seen = transformer_flux.get_1d_rotary_pos_embed, list[int]()

    def compute(dim: int, *args: Any, **given: Any) -> Any:
        seen.append(dim)
        return plain(dim, *args, **given)

    monkeypatch.setattr(transformer_flux, "get_1d_rotary_pos_embed", compute)
    return seen


def asked(kept: KeptRotary, model: Any, places: torch.Tensor) -> Any:
    with kept.during(model):
        return model.pos_embed(places)


def same(found: Any, model: Any, places: torch.Tensor) -> bool:
    return all(map(torch.equal, found, model.pos_embed(places)))


def test_what_is_kept_is_what_is_computed_for_every_set_of_places(computed: list[int]) -> None:
    """Of other sizes, of the same number of tokens elsewhere, of another number type, in any order."""
    model, kept, like = tiny_flux().transformer, KeptRotary(), torch.zeros(1)
    every = [positions(4, 8, like), positions(8, 4, like), positions(4, 8, like, 1), positions(2, 2, like)]
    for places in (*every, *reversed(every), *every):
        assert same(asked(kept, model, places), model, places)
    axes, before = len(model.pos_embed.axes_dim), len(computed)
    for places in every:
        asked(kept, model, places.clone())
    assert len(computed) == before, "all four are kept"
    asked(kept, model, every[0].double())
    assert len(computed) == before + axes, "places of another number type are others"
    kept.clear()
    asked(kept, model, every[0])
    assert len(computed) == before + 2 * axes
    assert "forward" not in vars(model.pos_embed)


CHANGES = {
    "another base": lambda model: setattr(model.pos_embed, "theta", 100),
    "other axes, in place": lambda model: model.pos_embed.axes_dim.reverse(),
    "another embedding": lambda model: setattr(model, "pos_embed", transformer_flux.FluxPosEmbed(7, [2, 2, 4])),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_within_a_run_is_seen(name: str) -> None:
    model, kept, places = tiny_flux().transformer, KeptRotary(), positions(4, 8, torch.zeros(1))
    model.pos_embed.axes_dim = list(model.pos_embed.axes_dim)
    before = asked(kept, model, places)
    CHANGES[name](model)
    assert same(asked(kept, model, places), model, places)
    assert [one.tolist() for one in before] != [one.tolist() for one in asked(kept, model, places)]


def test_what_somebody_changed_in_place_is_computed_again() -> None:
    """The places that were given, and the embeddings that came."""
    model, kept, places = tiny_flux().transformer, KeptRotary(), positions(4, 8, torch.zeros(1))
    cosines, _ = asked(kept, model, places)
    cosines.mul_(2)
    assert same(asked(kept, model, places), model, places)
    places.add_(1)
    assert same(asked(kept, model, places), model, places)


class Timed(transformer_flux.FluxPosEmbed):
    """An embedding of a user's, which depends on more than places."""

    calls = 0

    def forward(self, ids: torch.Tensor) -> Any:
        self.calls += 1
        return super().forward(ids * self.calls)


FOREIGN = {
    "a class of a user's": lambda model: setattr(model, "pos_embed", Timed(10000, [2, 2, 4])),
    "another function": lambda model: setattr(model.pos_embed, "forward", Timed(10000, [2, 2, 4]).forward),
    "tensors": lambda model: setattr(model.pos_embed, "tables", [torch.ones(1)]),
    "a table": lambda model: model.pos_embed.register_buffer("table", torch.ones(1)),
    "compiled": lambda model: model.compile(backend="eager"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_an_embedding_that_may_depend_on_more_is_left_alone(name: str) -> None:
    model, kept, places = tiny_flux().transformer, KeptRotary(), positions(4, 8, torch.zeros(1))
    FOREIGN[name](model)
    before = dict(vars(model.pos_embed))
    with kept.during(model):
        assert vars(model.pos_embed) == before
    assert vars(model.pos_embed) == before
    asked(kept, model, places)
    assert not kept._kept


def test_a_run_computes_each_once_and_the_next_run_again(computed: list[int]) -> None:
    """Velocities of two prompts and two sizes in turns are those of a backbone that is new each time."""
    kept = build("flux")
    rows = [rows_of(kept, text, guidance=3.0) for text in ("a cat", "")]
    sizes = [(32, 32), (32, 48)]
    latents = [torch.randn(1, *kept.latent_shape(*size), generator=torch.Generator().manual_seed(0)) for size in sizes]
    axes = len(kept.pipeline.transformer.pos_embed.axes_dim)
    computed.clear()
    kept.device  # noqa: B018  # as a run begins
    found = [kept.velocity(one, 0.5, own) for _ in range(2) for own in rows for one in latents]
    assert len(computed) == 2 * axes
    new = []
    for _ in range(2):
        for own in rows:
            for one in latents:
                kept.device  # noqa: B018
                new.append(kept.velocity(one, 0.5, own))
    assert len(computed) == 10 * axes
    assert all(map(torch.equal, found, new))
