"""Run the rows of a picture step by step, with the methods that steer them.

The loops are those of the papers: evaluate the velocity, take a step, let the methods have the latents. Everything that is
model-specific is behind :class:`~headrouter.models.backbone.Backbone`, everything about the inversion behind
:class:`~headrouter.sampling.inversion.Inversion`, everything about steering behind :class:`~headrouter.methods.method.Method`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter import renamed
from headrouter.attention.rows import Row
from headrouter.attention.step_info import Phase, StepInfo
from headrouter.errors import IncompatibleError, NonFiniteError
from headrouter.masks.context import MaskContext
from headrouter.masks.mask import Mask
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.methods.running_masks import RunningMasks
from headrouter.models.backbone import Backbone
from headrouter.models.surroundings import undisturbed
from headrouter.sampling.cost import Cost, Meter
from headrouter.sampling.dispatch import Dispatcher
from headrouter.sampling.evaluation import Evaluation, Sources
from headrouter.sampling.finiteness import FiniteCheck
from headrouter.sampling.inversion import Inversion, RunInputs, State
from headrouter.sampling.occupation import Occupation
from headrouter.sampling.velocity_operator import ActiveOperators, OperatorRun, VelocityOperator, begin_operators

Progress = Callable[[Phase, int, int], None]
"""Called after each step with the phase, the steps done and the steps in all."""


@final
@dataclass(frozen=True, eq=False)
class Sampled:
    """Holds what a sampling run gives.

    Attributes:
        latents: Final latents of the rows that were kept to the end.
        rows: Those rows.
        diagnostics: Tensors that each method recorded, in the order of the methods.
        cost: Cost of the run, of scout passes too.
        masks: Of the edit's mask, ``masks`` [edit, step, row, column] of the latents, NaN where it was not known or used, and
            ``areas`` [edit, height, width] of the picture at the end, 0 to 255; empty without a mask.
    """

    latents: Float[Tensor, "rows channels h w"]
    rows: tuple[Row, ...]
    diagnostics: tuple[dict[str, Tensor], ...]
    cost: Cost
    masks: dict[str, Tensor] = field(default_factory=dict)

    evidence = renamed.attribute("evidence", "diagnostics")


@final
@dataclass(eq=False)
class Engine:
    """Runs inversions of one backbone.

    Attributes:
        backbone: The model.
        progress: Called after each step.
    """

    backbone: Backbone
    progress: Progress | None = None

    @undisturbed()
    def invert(
        self,
        inversion: Inversion,
        rows: Sequence[Row],
        inputs: RunInputs,
        operators: Sequence[VelocityOperator] = (),
    ) -> tuple[Tensor, Cost]:
        """Take pictures to noise.

        Args:
            rows: One row per picture, with the prompt and guidance of the inversion.
            operators: Velocity operators; those that act while inverting take part.

        Returns:
            Latents as :attr:`~headrouter.sampling.inversion.RunInputs.inverted` has them, and the cost.
        """
        steps, device = inversion.inversion_steps(inputs.steps), inputs.source.device
        finite = FiniteCheck(late=device.type == "cuda")
        with Occupation(self.backbone), Meter(device) as meter:
            state, walk = State(inputs.source), [inputs.source]
            acting = begin_operators(operators, inversion, self._context("invert", steps, rows, inputs))
            for done, step in enumerate(steps, 1):
                step_info = StepInfo("invert", step, inputs.steps, 0, 0.0, 0)
                changing = _active_operators(acting, step, inversion, inputs)
                velocity = Evaluation(self.backbone, meter, finite, step_info, operators=changing)
                state = inversion.invert_step(step, state, rows, velocity, inputs)
                finite.note(state.latents, partial(_broken, "inversion", step, inputs.steps))
                finite.end_step()
                if inversion.keeps_walk:
                    walk.append(state.latents)
                self._report("invert", done, len(steps))
            finite.end()
        return torch.stack(walk, dim=1) if inversion.keeps_walk else state.latents, meter.cost()

    @undisturbed()
    def sample(
        self,
        inversion: Inversion,
        methods: Sequence[Method],
        rows: Sequence[Row],
        inputs: RunInputs,
        *,
        phase: Phase = "sample",
        keep_source: bool = False,
        operators: Sequence[VelocityOperator] = (),
        mask: Mask | None = None,
    ) -> Sampled:
        """Take rows from noise to pictures, steered by ``methods``, along velocities that ``operators`` change.

        The source's rows run only as long as the inversion, a method or a mask needs them, or to the end with ``keep_source``.
        Masks that scout ahead do so first.
        """
        steps = inversion.sampling_steps(inputs.steps)
        begun = self._begun(inversion, methods, rows, inputs, phase, operators, mask)
        masks, acting = begun.masks, begun.operators
        runs = [*masks.listeners, *begun.methods]
        last_need = self._last_step_with_source(inversion, runs, acting, steps, inputs.steps, keep_source)
        rows = _without_source(rows) if last_need < steps.start else tuple(rows)
        occupation, device = Occupation(self.backbone), inputs.source.device
        finite, unguided = FiniteCheck(late=device.type == "cuda"), self._unguided(rows)
        dispatcher = Dispatcher(occupation.over) if _any_attention(runs, steps) else None
        with occupation, Meter(device) as meter, ExitStack() as attached:
            scout = Evaluation(self.backbone, meter, finite, StepInfo(phase, steps.start, inputs.steps, 0, 0.0, 0))
            masks.scout(scout)
            if dispatcher is not None:
                attached.enter_context(self.backbone.attach(dispatcher))
            state = inversion.initial_state(rows, inputs)
            for done, step in enumerate(steps, 1):
                if step > last_need and any(row.is_source for row in rows):
                    kept = [index for index, row in enumerate(rows) if not row.is_source]
                    state, rows = state.select(kept), _without_source(rows)
                active = [run for run in runs if run.needs(step)]
                sources = _sources(inversion, [run.needs(step) for run in active])
                step_info = StepInfo(phase, step, inputs.steps, 0, 0.0, 0)
                changing = _active_operators(acting, step, inversion, inputs)
                velocity = Evaluation(
                    self.backbone, meter, finite, step_info, dispatcher, active, sources, unguided, changing
                )
                state = inversion.sample_step(step, state, rows, velocity, inputs)
                masks.record(step)
                for run in begun.methods:
                    if run.needs(step).latents:
                        changed = run.end_step(step, state.latents, rows)
                        state = state if changed is state.latents else state.with_latents(changed)
                finite.note(state.latents, partial(_broken, "sampling", step, inputs.steps))
                finite.end_step()
                self._report(phase, done, len(steps))
            finite.end()
        diagnostics = tuple(dict(run.diagnostics()) for run in begun.methods)
        return Sampled(state.latents, tuple(rows), diagnostics, meter.cost(), masks.recorded())

    def begin(
        self,
        inversion: Inversion,
        methods: Sequence[Method],
        rows: Sequence[Row],
        inputs: RunInputs,
        *,
        phase: Phase = "sample",
        operators: Sequence[VelocityOperator] = (),
        mask: Mask | None = None,
    ) -> list[MethodRun]:
        """Begin each method's run, without running the model; methods, operators and masks refuse what cannot work.

        Raises:
            IncompatibleError: a method or operator that would act in none of the steps that are run.
        """
        return list(self._begun(inversion, methods, rows, inputs, phase, operators, mask).methods)

    def _begun(
        self,
        inversion: Inversion,
        methods: Sequence[Method],
        rows: Sequence[Row],
        inputs: RunInputs,
        phase: Phase,
        operators: Sequence[VelocityOperator] = (),
        mask: Mask | None = None,
    ) -> "_Begun":
        steps = inversion.sampling_steps(inputs.steps)
        context = self._context(phase, steps, rows, inputs)
        assert context.masks is not None
        own = None if mask is None else context.masks.of(mask)
        changing = begin_operators(operators, inversion, context)
        runs = [method.begin(context) for method in methods]
        for method, run in zip(methods, runs, strict=True):
            _refuse_idle(method, run, steps, inputs.steps)
        return _Begun(RunningMasks(context.masks, inputs.steps, own), runs, changing)

    def _context(self, phase: Phase, steps: range, rows: Sequence[Row], inputs: RunInputs) -> RunContext:
        known, sites, sigmas = self.backbone.defaults.word_blocks, self.backbone.sites, inputs.sigmas
        size, image_sites, packed = inputs.size, self.backbone.image_sites, self.backbone.packs_latents
        pictures = inputs.pictures, inputs.regions, inputs.kept
        given = inputs.source, inputs.noise, known, packed, size, *pictures
        masks = MaskContext(tuple(rows), sites, steps, sigmas, *given)
        return RunContext(
            phase, inputs.steps, sites, tuple(rows), sigmas, steps, known, size, image_sites, packed, masks
        )

    def _last_step_with_source(
        self,
        inversion: Inversion,
        runs: Sequence[MethodRun],
        operators: Sequence["_Acting"],
        steps: range,
        total: int,
        keep_source: bool,
    ) -> int:
        if keep_source:
            return steps.stop
        needing = [
            step
            for step in steps
            if inversion.needs_source(step, total)
            or any(run.needs(step).pair for run in runs)
            or any(one.needs_source and step in one.steps(total) for one, _ in operators)
        ]
        return max(needing, default=steps.start - 1)

    def _unguided(self, rows: Sequence[Row]) -> dict[Row, Row]:
        """Return sources' rows without their unconditional branch, where guidance takes two passes."""
        if "negative-prompt" not in self.backbone.provides:
            return {}
        return {row: replace(row, guidance=1.0) for row in rows if row.is_source and row.guidance != 0}

    def _report(self, phase: Phase, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(phase, done, total)


def may_need_sources(
    inversion: Inversion,
    methods: Sequence[Method],
    operators: Sequence[VelocityOperator] = (),
    mask: Mask | None = None,
    *,
    steps: int,
) -> bool:
    """Return whether a part of a run may look at the sources' rows, as far as can be said before it begins."""
    if methods or operators or mask is not None:
        return True
    return any(inversion.needs_source(step, steps) for step in inversion.sampling_steps(steps))


_Acting = tuple[VelocityOperator, OperatorRun]


@final
@dataclass(frozen=True, eq=False)
class _Begun:
    """Holds all that takes part in a run: masks, methods and velocity operators."""

    masks: RunningMasks
    methods: Sequence[MethodRun]
    operators: Sequence[_Acting]


def _active_operators(
    acting: Sequence[_Acting], step: int, inversion: Inversion, inputs: RunInputs
) -> ActiveOperators | None:
    """Return the operators of a step, None where none acts."""
    active = [(operator, run) for operator, run in acting if step in operator.steps(inputs.steps)]
    if not active:
        return None
    uses_source = any(operator.needs_source for operator, _ in active)
    return ActiveOperators([run for _, run in active], inversion, inputs, uses_source)


def _any_attention(runs: Sequence[MethodRun], steps: range) -> bool:
    needs = [run.needs(step) for run in runs for step in steps]
    return any(need.attention or need.image_attention or need.text for need in needs)


def _sources(inversion: Inversion, needs: Sequence[Needs]) -> Sources:
    """Return what a step asks of the sources' rows, given what its methods need."""
    if not inversion.source_is_known:
        return True
    pairs = {need.pair for need in needs if need.model and need.pair}
    return True if True in pairs else "conditional" if pairs else False


def _without_source(rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if not row.is_source)


def _refuse_idle(method: Method, run: MethodRun, steps: range, total: int) -> None:
    """Refuse a method all of whose steps are left out by a shortened inversion: it would have no effect."""
    if any(map(run.needs, range(total))) and not any(map(run.needs, steps)):
        raise IncompatibleError(
            f"{type(method).__name__} acts in none of the steps that are run: the inversion runs steps {steps.start} to "
            f"{steps.stop - 1} of 0 to {total - 1}. Let it act later (`start`, `stop`), or run more steps."
        )


def _broken(phase: str, step: int, steps: int) -> NonFiniteError:
    return NonFiniteError(
        f"The latents became NaN or infinite after {phase} step {step} of {steps}. Try weaker steering, or more steps."
    )
