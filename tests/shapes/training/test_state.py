"""A checkpoint continues the run that it is of, or is refused by a sentence that names what differs."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from headrouter_shapes.training.optimiser import Optimiser
from headrouter_shapes.training.options import training_parser
from headrouter_shapes.training.state import misfit, refuse_misfit, surroundings
from torch import nn

from headrouter.errors import WeightsError

SETTINGS: dict[str, Any] = {"seed": 0, "emphasis": {}, **surroundings(torch.device("cpu"), workers=1)}


def _run(steps: int) -> tuple[Optimiser, dict[str, Any]]:
    """Return an optimiser after some steps, and the state to continue from, as trainings have them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(OrderedDict(first=nn.Linear(3, 4), hidden=nn.Linear(4, 4), unused=nn.Linear(4, 2)))
    optimiser = Optimiser(model.named_parameters(), lambda name: "hidden" in name)
    for _ in range(steps):
        model.hidden(model.first(torch.ones(2, 3))).square().sum().backward()
        optimiser.step(1.0)
    weights = model.state_dict()
    return optimiser, {"recipe": SETTINGS, "step": steps, "weights": weights, "optimiser": optimiser.state_dict()}


def _needed(optimiser: Optimiser, state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "optimiser": optimiser.layout()}


@pytest.mark.parametrize("steps", [0, 2])
def test_a_state_of_the_same_run_fits_whatever_has_moved_so_far(steps: int) -> None:
    fresh, begun = _run(0)
    _, state = _run(steps)
    refuse_misfit(_needed(fresh, begun), copy.deepcopy(state), "recipe")
    state["optimiser"]["adam"]["param_groups"][0]["of_a_later_torch"] = True
    refuse_misfit(_needed(fresh, begun), state, "recipe")


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    *way, last, value = path

    def change(state: dict[str, Any]) -> None:
        for key in way:
            state = state[key]
        state[last] = value

    return change


def _drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    *way, last = path

    def change(state: dict[str, Any]) -> None:
        for key in way:
            state = state[key]
        del state[last]

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_set("recipe", "seed", 3), "another configuration: seed 3 instead of 0. Give the settings"),
        (_drop("recipe", "emphasis"), "another configuration: no emphasis instead of {}"),
        (_set("recipe", "decay", 0.5), "another configuration: decay 0.5, which is unknown here"),
        (_set("recipe", "workers", 2), "another configuration: workers 2 instead of 1"),
        (_set("recipe", "device", "cuda"), "another configuration: device 'cuda' instead of 'cpu'"),
        (_set("recipe", "OMP_NUM_THREADS", 64), "another configuration: OMP_NUM_THREADS 64 instead of "),
        (_drop("recipe"), "another kind or version: it lacks 'recipe'. Start with another `--out`"),
        (_set("recipe", [0, 3]), "`recipe` is of type list instead of dict"),
        (_drop("step"), "it lacks 'step'"),
        (_set("step", "2"), "`step` is of type str instead of int"),
        (_set("later", 1), "it has 'later', which is unknown"),
        (_set("weights", None), "`weights` is of type NoneType instead of dict"),
        (_drop("weights", "first.bias"), "`weights` lacks 'first.bias'"),
        (_set("weights", "more", torch.zeros(1)), "`weights` has 'more', which is unknown"),
        (
            _set("weights", "first.bias", torch.zeros(1)),
            "`weights.first.bias` is of type float32[1] instead of float32[4]",
        ),
        (_set("weights", "first.bias", torch.zeros(4).double()), "is of type float64[4] instead of float32[4]"),
        (_drop("optimiser", "muon"), "`optimiser` lacks 'muon'"),
        (_set("optimiser", "muon", []), "`optimiser.muon` has 0 elements instead of 1"),
        (_set("optimiser", "adam", "param_groups", []), "`optimiser.adam.param_groups` has 0 elements instead of 1"),
        (_set("optimiser", "adam", "param_groups", 0, "params", [0]), "`optimiser.adam.param_groups.0.params` has 1"),
        (_drop("optimiser", "adam", "state", 0, "exp_avg"), "`optimiser.adam.state.0` lacks 'exp_avg'"),
        (
            _set("optimiser", "adam", "state", 0, "exp_avg", torch.zeros(1)),
            "is of type float32[1] instead of float32[4, 3]",
        ),
        (_set("optimiser", "muon", 0, "state", 9, {}), "`optimiser.muon.0.state` has 9, which is unknown"),
    ],
)
def test_another_state_is_refused_by_name(change: Callable[[dict[str, Any]], None], why: str) -> None:
    (fresh, begun), state = _run(0), copy.deepcopy(_run(2)[1])
    change(state)
    with pytest.raises(WeightsError) as refused:
        refuse_misfit(_needed(fresh, begun), state, "recipe")
    assert why in str(refused.value) and "another `--out`." in str(refused.value)


def test_settings_of_the_machine_are_those_of_the_command_line() -> None:
    names = {action.dest for action in training_parser(None)._actions}
    found = surroundings(torch.device("cpu"), workers=3)
    assert found == {"workers": 3, "device": "cpu", "OMP_NUM_THREADS": torch.get_num_threads()}
    assert set(found) - {"OMP_NUM_THREADS"} <= names
    assert surroundings(torch.device("cuda"), workers=1)["OMP_NUM_THREADS"] is None


def test_a_form_without_a_name_is_called_it() -> None:
    assert misfit({"latents": torch.zeros(2)}, {}) == "it lacks 'latents'"
    assert misfit({"latents": torch.zeros(2)}, {"latents": torch.ones(2)}) is None
