"""Run the rows of a picture step by step, with the methods that steer them.

The loops are those of the papers: evaluate the velocity, take a step, let the methods have the latents. Everything that is
model-specific is behind :class:`~headrouter.models.backbone.Backbone`, everything about the inversion behind
:class:`~headrouter.sampling.inversion.Inversion`, everything about steering behind :class:`~headrouter.methods.method.Method`.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter import renamed
from headrouter.attention.rows import Row
from headrouter.attention.step_info import Phase, StepInfo
from headrouter.errors import IncompatibleError, NonFiniteError, OutOfMemoryError
from headrouter.methods.method import Method, MethodRun, RunContext
from headrouter.models.backbone import Backbone
from headrouter.models.surroundings import undisturbed
from headrouter.sampling.cost import Cost, Meter
from headrouter.sampling.dispatch import Dispatcher
from headrouter.sampling.inversion import Inversion, RunInputs, State
from headrouter.sampling.occupation import Occupation

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
        cost: Cost of the run.
    """

    latents: Float[Tensor, "rows channels h w"]
    rows: tuple[Row, ...]
    diagnostics: tuple[dict[str, Tensor], ...]
    cost: Cost

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
    def invert(self, inversion: Inversion, rows: Sequence[Row], inputs: RunInputs) -> tuple[Tensor, Cost]:
        """Take pictures to noise.

        Args:
            rows: One row per picture, with the prompt and guidance of the inversion.

        Returns:
            Latents ``[images, channels, h, w]`` and the cost.
        """
        steps = inversion.inversion_steps(inputs.steps)
        with Occupation(self.backbone), Meter(self.backbone.device) as meter:
            state = State(inputs.source)
            for done, step in enumerate(steps, 1):
                velocity = _Velocity(self.backbone, meter, StepInfo("invert", step, inputs.steps, 0, 0.0, 0))
                state = inversion.invert_step(step, state, rows, velocity, inputs)
                _check(state.latents, "inversion", step, inputs.steps)
                self._report("invert", done, len(steps))
        return state.latents, meter.cost()

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
    ) -> Sampled:
        """Take rows from noise to pictures, steered by ``methods``.

        The source's rows run only as long as the inversion or a method needs them, or to the end with ``keep_source``.
        """
        steps = inversion.sampling_steps(inputs.steps)
        runs = self.begin(inversion, methods, rows, inputs, phase=phase)
        last_need = self._last_step_with_source(inversion, runs, steps, inputs.steps, keep_source)
        rows = _without_source(rows) if last_need < steps.start else tuple(rows)
        occupation = Occupation(self.backbone)
        dispatcher = Dispatcher(occupation.over) if _any_attention(runs, steps) else None
        attached = nullcontext() if dispatcher is None else self.backbone.attach(dispatcher)
        with occupation, Meter(self.backbone.device) as meter, attached:
            state = inversion.initial_state(rows, inputs)
            for done, step in enumerate(steps, 1):
                if step > last_need and any(row.is_source for row in rows):
                    kept = [index for index, row in enumerate(rows) if not row.is_source]
                    state, rows = state.select(kept), _without_source(rows)
                active, step_info = (
                    [run for run in runs if run.needs(step)],
                    StepInfo(phase, step, inputs.steps, 0, 0.0, 0),
                )
                velocity = _Velocity(self.backbone, meter, step_info, dispatcher, active)
                state = inversion.sample_step(step, state, rows, velocity, inputs)
                for run in runs:
                    if run.needs(step).latents:
                        changed = run.end_step(step, state.latents, rows)
                        state = state if changed is state.latents else state.with_latents(changed)
                _check(state.latents, "sampling", step, inputs.steps)
                self._report(phase, done, len(steps))
        diagnostics = tuple(dict(run.diagnostics()) for run in runs)
        return Sampled(state.latents, tuple(rows), diagnostics, meter.cost())

    def begin(
        self,
        inversion: Inversion,
        methods: Sequence[Method],
        rows: Sequence[Row],
        inputs: RunInputs,
        *,
        phase: Phase = "sample",
    ) -> list[MethodRun]:
        """Begin each method's run, without running the model; methods refuse what cannot work.

        Raises:
            IncompatibleError: a method that would act in none of the steps that are run.
        """
        steps, known = inversion.sampling_steps(inputs.steps), self.backbone.defaults.word_blocks
        sites, sigmas = self.backbone.sites, inputs.sigmas
        size, image_sites, packed = inputs.size, self.backbone.image_sites, self.backbone.packs_latents
        context = RunContext(phase, inputs.steps, sites, tuple(rows), sigmas, steps, known, size, image_sites, packed)
        runs = [method.begin(context) for method in methods]
        for method, run in zip(methods, runs, strict=True):
            _refuse_idle(method, run, steps, inputs.steps)
        return runs

    def _last_step_with_source(
        self, inversion: Inversion, runs: Sequence[MethodRun], steps: range, total: int, keep_source: bool
    ) -> int:
        if keep_source:
            return steps.stop
        needing = [
            step for step in steps if inversion.needs_source(step, total) or any(run.needs(step).pair for run in runs)
        ]
        return max(needing, default=steps.start - 1)

    def _report(self, phase: Phase, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(phase, done, total)


@final
@dataclass(frozen=True, eq=False)
class _Velocity:
    """Evaluates the model within one step: states its step and stage, counts the call, finds where numbers stop being finite."""

    backbone: Backbone
    meter: Meter
    step_info: StepInfo
    dispatcher: Dispatcher | None = None
    active: Sequence[MethodRun] = ()

    def __call__(self, latents: Tensor, sigma: float, rows: Sequence[Row], stage: int = 0) -> Tensor:
        step_info = replace(self.step_info, stage=stage, sigma=sigma, forward=self.meter.calls)
        self.meter.count(self.backbone, rows)
        if self.dispatcher is not None:
            self.dispatcher.enter(step_info, self.active)
        try:
            velocity = self.backbone.velocity(latents, sigma, rows)
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"{self.backbone.device} ran out of memory at step {step_info.step} with {len(rows)} rows. Save memory by a "
                "smaller `size`, `max_rows=2` (edits one by one), `offload='model'` or `'group'`, `dtype='bfloat16'`."
            ) from error
        if not torch.isfinite(velocity).all():
            where = self._first_broken_site(step_info, latents, sigma, rows)
            raise NonFiniteError(
                f"The model gave NaN or infinity in step {step_info.step} of {step_info.steps} ({step_info.phase}), {where}. Try "
                "`dtype='bfloat16'` or `'float32'` instead of float16, or weaker steering."
            )
        return velocity

    def _first_broken_site(self, step_info: StepInfo, latents: Tensor, sigma: float, rows: Sequence[Row]) -> str:
        """Evaluate once more, looking at each attention, to name the layer where numbers first break."""
        dispatcher = self.dispatcher or Dispatcher()
        dispatcher.enter(step_info, self.active)
        dispatcher.watch()
        with nullcontext() if self.dispatcher else self.backbone.attach(dispatcher):
            self.backbone.velocity(latents, sigma, rows)
        return dispatcher.broken()


def _any_attention(runs: Sequence[MethodRun], steps: range) -> bool:
    needs = [run.needs(step) for run in runs for step in steps]
    return any(need.attention or need.image_attention or need.text for need in needs)


def _without_source(rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if not row.is_source)


def _refuse_idle(method: Method, run: MethodRun, steps: range, total: int) -> None:
    """Refuse a method all of whose steps are left out by a shortened inversion: it would have no effect."""
    if any(map(run.needs, range(total))) and not any(map(run.needs, steps)):
        raise IncompatibleError(
            f"{type(method).__name__} acts in none of the steps that are run: the inversion runs steps {steps.start} to "
            f"{steps.stop - 1} of 0 to {total - 1}. Let it act later (`start`, `stop`), or run more steps."
        )


def _check(latents: Tensor, phase: str, step: int, steps: int) -> None:
    if not torch.isfinite(latents).all():
        raise NonFiniteError(
            f"The latents became NaN or infinite after {phase} step {step} of {steps}. Try weaker steering, or more steps."
        )
