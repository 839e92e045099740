"""Each operator does what its equation says, at the place between guidance and inversion, on every inversion."""

import itertools
from typing import Any, ClassVar

import pytest
import torch
from headrouter_inversions.directedit import DirectEdit
from headrouter_inversions.euler import Euler
from headrouter_inversions.fireflow import FireFlow
from headrouter_inversions.flowedit import FlowEdit
from headrouter_inversions.rf import RFInversion
from headrouter_inversions.rf_sde import RFInversionSDE
from headrouter_inversions.rf_solver import RFSolver
from headrouter_inversions.sdedit import SDEdit
from headrouter_operators.gate import Gate
from headrouter_operators.mask import MaskOperator
from headrouter_operators.mimic_cfg import MimicCfg
from headrouter_operators.pmi import ProximalMean
from headrouter_operators.projection import Projection
from headrouter_operators.veloedit import VeloEdit
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.attention.step_info import StepInfo
from headrouter.editing.batch import Batch, Edited, Task
from headrouter.editing.tuning import Plan
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.method import RunContext
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import OperatorRun, VelocityEvent, VelocityOperator
from headrouter.testing.masks import ConstantMask
from headrouter.testing.toy import ToyMMDiT

NOTHING = Prompt("", {})
ROWS = [Row(NOTHING, NOTHING, 1.0), Row(NOTHING, NOTHING, 1.0, edit=0), Row(NOTHING, NOTHING, 1.0, edit=1)]
CONTEXT = RunContext("sample", 4, (), tuple(ROWS), (1.0, 0.8, 0.5, 0.2, 0.0), range(4))
INVERSIONS: list[Inversion] = [
    Euler(),
    RFInversion(),
    RFInversion(hold_source=True),
    RFInversionSDE(hold_source=True, eta=0.5),
    RFSolver(),
    FireFlow(),
    FlowEdit(averages=2),
    FlowEdit(plain_steps=1),
    SDEdit(),
    DirectEdit(),  # puts its source on the walk, which an edit follows within rounding
]


def name(inversion: Inversion) -> str:
    return " ".join(
        [
            type(inversion).__name__,
            *(f"{field}={getattr(inversion, field)}" for field in sorted(inversion.model_fields_set)),
        ]
    )


def share(value: float, **values: Any) -> MaskOperator:
    """The mask whose value is one number everywhere."""
    return MaskOperator(mask=ConstantMask(value=value), **values)


def edited(inversion: Inversion, *operators: VelocityOperator, **kept: Any) -> Edited:
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    task = Task(("a blue dog", "a red dog"), (1,), "a red cat", pixels)
    return Batch(ToyMMDiT(), Plan(inversion, (), 4, 3.0, operators), (task,), (16, 16)).edit(**kept)


@pytest.mark.parametrize("inversion", INVERSIONS, ids=name)
def test_nothing_of_the_difference_is_the_source_and_all_of_it_the_edit(inversion: Inversion) -> None:
    plain = edited(inversion, keep_sources=True)
    none, whole = (edited(inversion, share(value), keep_sources=True) for value in (0.0, 1.0))
    for place in (0, 1):
        exact = torch.equal(none.latents[place], none.sources[0])
        close = torch.allclose(none.latents[place], none.sources[0], atol=1e-5)
        assert close if isinstance(inversion, DirectEdit) else exact, "zeros give the source's row"
    assert torch.equal(none.sources, plain.sources), "the source's row does not change"
    if not inversion.source_is_known:  # there it is evaluated beside the edits or not, which changes the last bits
        assert torch.equal(whole.latents, plain.latents), "ones give the plain edit"
    assert torch.allclose(whole.latents, plain.latents, atol=1e-5)
    assert none.cost.calls == whole.cost.calls == plain.cost.calls


def test_the_source_of_a_hold_is_not_evaluated_for_an_operator() -> None:
    held, free = RFInversion(hold_source=True), RFInversion()
    assert edited(held, share(0.5)).cost.rows == edited(held).cost.rows
    assert edited(free, share(0.5)).cost.rows > edited(free).cost.rows


def test_the_source_runs_as_long_as_an_operator_compares() -> None:
    rows = [edited(Euler(), share(0.5, stop=stop)).cost.rows for stop in (1, 2, 3, 4)]
    assert [after - before for before, after in itertools.pairwise(rows)] == [2, 2, 2]
    assert edited(Euler(), share(0.5, stop=0)).cost.rows == edited(Euler()).cost.rows


def event(velocity: Tensor, step: int = 0, phase: Any = "sample", **values: Any) -> VelocityEvent:
    info = StepInfo(phase, step, 4, 0, values.pop("sigma", 0.5), 0)
    zeros = torch.zeros_like(velocity)
    rows = ROWS if phase == "sample" else [ROWS[0]] * len(velocity)
    return VelocityEvent(
        velocity, values.get("latents", zeros), rows, info, values.get("interval", -0.3), values.get("picture", zeros)
    )


def drawn(seed: int, rows: int = 3) -> Tensor:
    return torch.randn(rows, 2, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("within", ["picture", "place"])
def test_projection_is_orthogonal_to_the_source(within: Any) -> None:
    velocity = drawn(0)
    found = Projection(within=within).begin(CONTEXT).change(event(velocity))
    dimensions = (1, 2, 3) if within == "picture" else (1,)
    overlap = ((found - found[0]) * velocity[0]).sum(dimensions)[1:]
    before = ((velocity - velocity[0]) * velocity[0]).sum(dimensions)[1:]
    assert float(overlap.abs().max()) < 1e-6 < float(before.abs().max())
    half = Projection(within=within, strength=0.5).begin(CONTEXT).change(event(velocity))
    assert torch.allclose(half, (velocity + found) / 2)


def test_gate_closes_where_a_difference_jumps() -> None:
    run, source, change = (
        Gate(memory=0.5, threshold=1.25, softness=0.1).begin(CONTEXT),
        drawn(1)[:1],
        torch.ones(1, 2, 3, 4),
    )
    mean, sizes = 1.0, [1.0, 1.0, 3.0]
    for size in sizes:
        velocity = torch.cat([source, source + size * change, source])
        found = run.change(event(velocity))
        mean = 0.5 * mean + 0.5 * size
        share = torch.sigmoid(torch.tensor((1.25 - size / mean) / 0.1, dtype=torch.float64))
        assert torch.allclose(found[1], source[0] + share * size * change[0], atol=1e-6)
        assert torch.equal(found[2], source[0]), "an edit that does not differ stays"
    assert float(share) < 0.1


def running(velocities: list[Tensor], intervals: list[float]) -> Tensor:
    pairs = list(zip(velocities, intervals, strict=True))
    return sum(abs(length) * velocity for velocity, length in pairs) / sum(abs(length) for _, length in pairs)  # type: ignore[return-value]


def test_mimic_cfg_pulls_to_the_direction_of_the_mean() -> None:
    run, seen, lengths = MimicCfg(weight=0.7).begin(CONTEXT), list[Tensor](), [-0.2, -0.3, -0.5]
    for step, length in enumerate(lengths):
        velocity = drawn(10 + step)
        seen.append(velocity)
        found = run.change(event(velocity, step, interval=length))
        assert torch.equal(found[0], velocity[0])
        for row in (1, 2):
            mean = running([one[row] for one in seen], lengths[: step + 1]).flatten()
            projection = (velocity[row].flatten() @ mean) / (mean @ mean) * mean
            assert torch.allclose(found[row].flatten(), 0.3 * projection + 0.7 * velocity[row].flatten())


def test_pmi_steps_down_its_gradient_by_its_radius() -> None:
    run, seen, lengths = ProximalMean(mean_weight=2.0).begin(CONTEXT), list[Tensor](), [0.2, 0.3]
    for step, length in enumerate(lengths):
        velocity = drawn(20 + step, 1)
        seen.append(velocity[0])
        found = run.change(event(velocity, step, "invert", interval=length))
        if step == 0:
            assert torch.equal(found, velocity), "the first has none before it"
            continue
        moved = velocity[0] - found[0]
        count = velocity[0].numel()
        assert float(moved.norm()) == pytest.approx(length * (2 * count + 3 * (2 * count) ** 0.5) ** 0.5)
        gradient = (velocity[0] - seen[0]).sign() + (velocity[0] - running(seen, lengths)) / 2
        assert torch.allclose(moved / moved.norm(), gradient / gradient.norm())


def test_veloedit_takes_the_pictures_velocity_where_it_is_close() -> None:
    latents, picture = drawn(30), drawn(31)
    reference = (latents - picture) / 0.5
    velocity = reference * torch.tensor([1.0, 1.2, 1.5]).double()[:, None, None, None]
    run = VeloEdit(threshold=0.8, blend=0.25).begin(CONTEXT)
    found = run.change(event(velocity, latents=latents, picture=picture, sigma=0.5))
    assert torch.equal(found[0], velocity[0]) and torch.equal(found[1], reference[1])  # 1/1.2 is above 0.8, 1/1.5 below
    assert torch.allclose(found[2], 0.25 * reference[2] + 0.75 * velocity[2])


@pytest.mark.parametrize(
    ("start", "stop", "total", "expected"),
    [
        (0, 1 / 6, 2, [0]),
        (0.5, 0.51, 8, [4]),
        (1, 0.2, 7, [1]),
        (0, 1 / 6, 28, [0, 1, 2, 3, 4]),
        (0, 0, 8, []),
        (0, 0.0, 8, []),
        (0.5, 0.5, 8, []),
        (1.0, 1.0, 8, []),
    ],
)
def test_an_operator_acts_once_where_its_share_of_the_steps_rounds_to_none(start, stop, total, expected) -> None:
    assert [*Gate(start=start, stop=stop).steps(total)] == expected


def test_operators_act_in_their_order() -> None:
    """Half of what is orthogonal to the source is not what is orthogonal of half."""
    halved = share(0.5, strength=0.5)
    first, second = (edited(Euler(), *some).latents for some in ((Projection(), Double()), (Double(), Projection())))
    assert not torch.equal(first, second)
    assert torch.allclose(edited(Euler(), halved).latents, edited(Euler(), share(0.75)).latents, atol=1e-5)


class Double(VelocityOperator):
    """Twice the velocity itself, which is no multiple of the difference."""

    neutral: ClassVar[dict[str, float]] = {}

    def begin(self, context: RunContext) -> OperatorRun:
        class Run(OperatorRun):
            def change(self, event: VelocityEvent) -> Tensor:
                return event.changed(lambda place: 1.1 * event.velocity[place])

        return Run()


def test_a_mask_operator_needs_a_mask() -> None:
    with pytest.raises(InvalidInputError, match=r"`operator.mask` is missing"):
        edited(Euler(), MaskOperator())


class Unknown(Euler):
    """Says that it knows its source, and not how it moves."""

    @property
    def source_is_known(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("inversion", "operator", "says"),
    [
        (Unknown(), Projection(), "`inversion` 'Unknown' with these parameters has no source velocity"),
        (FlowEdit(), ProximalMean(), "`inversion` 'FlowEdit' inverts nothing"),
        (
            SDEdit(strength=0.5),
            Gate(stop=1),
            "acts in none of the steps that are run: `inversion` 'SDEdit' runs steps 2 to 3",
        ),
    ],
)
def test_an_operator_without_effect_is_refused_by_name(
    inversion: Inversion, operator: VelocityOperator, says: str
) -> None:
    with pytest.raises(IncompatibleError, match=says):
        edited(inversion, operator)


def test_what_an_inversion_depends_on_has_the_operators_that_act_in_it() -> None:
    plan = Plan(Euler(), (), 4, 3.0, (ProximalMean(), Gate()))
    assert plan.inverting_operators == (ProximalMean(),)
