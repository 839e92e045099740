"""Schedulers that step otherwise than an edit would are refused by name, before anything else of them is used."""

import diffusers
import pytest
from diffusers import FlowMatchEulerDiscreteScheduler, SchedulerMixin
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters

from headrouter.errors import IncompatibleError

from .folders import change

OTHERS = sorted(
    name
    for name in dir(diffusers)
    if name.endswith("Scheduler")
    and issubclass(getattr(diffusers, name), SchedulerMixin)
    and name != "FlowMatchEulerDiscreteScheduler"
)


def impostor(name):
    kind = getattr(diffusers, name)
    return kind.__new__(kind)  # has no configuration, no levels


def test_there_are_other_schedulers():
    assert {"UniPCMultistepScheduler", "LCMScheduler", "FlowMatchHeunDiscreteScheduler"} <= set(OTHERS)
    assert len(OTHERS) > 30


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_scheduler_of_diffusers_is_refused_by_name(name):
    pipeline = tiny_sd3()
    object.__setattr__(pipeline, "scheduler", impostor(name))
    with pytest.raises(IncompatibleError, match=rf"`pipeline` \(tiny\) has the scheduler {name}, whose steps"):
        SD3Parameters().load("tiny", pipeline)


@pytest.mark.parametrize("build", [tiny_flux, tiny_sd3])
def test_stochastic_sampling_is_refused(build):
    pipeline = build()
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler.from_config(
        pipeline.scheduler.config, stochastic_sampling=True
    )
    parameters = FluxParameters() if build is tiny_flux else SD3Parameters()
    with pytest.raises(IncompatibleError, match="`stochastic_sampling`, which an edit would not do"):
        parameters.load("tiny", pipeline)


def test_a_class_that_steps_as_euler_is_taken():
    class Own(FlowMatchEulerDiscreteScheduler):
        """Changes nothing."""

    class Other(FlowMatchEulerDiscreteScheduler):
        def step(self, *arguments, **values):
            return super().step(*arguments, **values)

    pipeline = tiny_sd3()
    pipeline.scheduler = Own.from_config(pipeline.scheduler.config)
    assert SD3Parameters().load("tiny", pipeline).sigmas(4, 48, 32).shape == (5,)
    pipeline.scheduler = Other.from_config(pipeline.scheduler.config)
    with pytest.raises(IncompatibleError, match="the scheduler Other"):
        SD3Parameters().load("tiny", pipeline)


def test_a_scheduler_that_is_exchanged_later_is_refused():
    backbone = SD3Parameters().load("tiny", tiny_sd3())
    backbone.pipeline.scheduler = diffusers.UniPCMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction"
    )
    with pytest.raises(IncompatibleError, match="the scheduler UniPCMultistepScheduler"):
        backbone.sigmas(4, 48, 32)


def test_a_folder_with_another_scheduler_is_refused(broken):
    change(broken / "model_index.json", scheduler=["diffusers", "DPMSolverMultistepScheduler"])
    with pytest.raises(IncompatibleError, match=r"`model` .* has the scheduler DPMSolverMultistepScheduler"):
        SD3Parameters(device="cpu").load(str(broken))


@pytest.mark.parametrize(
    "values", [{"invert_sigmas": True}, {"shift": float("nan")}, {"shift": "much"}, {"shift": None}]
)
def test_a_configuration_without_falling_levels_is_refused(values):
    backbone = SD3Parameters().load("tiny", tiny_sd3())
    scheduler = backbone.pipeline.scheduler
    scheduler._internal_dict = type(scheduler.config)({**scheduler.config, **values})
    if "shift" in values:
        scheduler._shift = values["shift"]
    with pytest.raises(IncompatibleError, match=r"`pipeline` \(tiny\) has a scheduler that (does not give|gives no)"):
        backbone.sigmas(4, 48, 32)
