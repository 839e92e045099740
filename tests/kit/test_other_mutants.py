"""Inversions, methods and plug-ins with one mistake each are found, too."""

import sys

import pytest
import torch
from headrouter_inversions.euler import Euler

from headrouter.methods.method import Method, MethodRun, Needs
from headrouter.methods.word_maps import WordMaps
from headrouter.plugins import Registry
from headrouter.plugins.specifications import InversionSpec, MethodSpec, Preset, hookimpl
from headrouter.sampling.inversion import State, StrengthScale, per_row
from headrouter.testing import (
    InversionSubject,
    MethodSubject,
    PluginSubject,
    checks,
)
from headrouter.testing.check import run


def found(checks, name, subject, says):
    [check] = [each for each in checks if each.name == name]
    result = run(check, subject)
    assert result.outcome == "failed"
    assert says in result.message.partition("\nIf this fails")[0]


class Upwards(Euler):
    def sample_step(self, step, state, rows, velocity, inputs):
        after = super().sample_step(step, state, rows, velocity, inputs)
        return State(2 * state.latents - after.latents)


class HalfStep(Euler):
    def sample_step(self, step, state, rows, velocity, inputs):
        after = super().sample_step(step, state, rows, velocity, inputs)
        return State(after.latents + 0.1 * state.latents / inputs.steps**0.2)


class InPlace(Euler):
    def sample_step(self, step, state, rows, velocity, inputs):
        state.latents.copy_(super().sample_step(step, state, rows, velocity, inputs).latents)
        return state

    def initial_state(self, rows, inputs):
        return State(inputs.inverted if inputs.inverted is not None else inputs.noise("start", 0))


class Noisy(Euler):
    def sample_step(self, step, state, rows, velocity, inputs):
        after = super().sample_step(step, state, rows, velocity, inputs)
        return State(after.latents + 1e-9 * torch.randn(after.latents.shape, dtype=torch.float64))


class ModelTime(Euler):
    def sample_step(self, step, state, rows, velocity, inputs):
        return super().sample_step(step, state, rows, lambda x, s, r: velocity(x, 1000 * s, r), inputs)


class FirstPictureForAll(Euler):
    def initial_state(self, rows, inputs):
        start = inputs.noise("start", 0) if inputs.inverted is None else inputs.inverted
        return State(start[[0] * len(rows)])


class ForgetsRows(Euler):
    def sample_step(self, step, state, rows, velocity, inputs):
        after = super().sample_step(step, state, rows, velocity, inputs)
        return State(after.latents + 0.01 * after.latents.mean(dim=0))


class SaysAlike(Euler):
    def sample_step(self, step, state, rows, velocity, inputs):
        return super().sample_step(step, state, rows, lambda x, s, r: velocity(x, s, r, alike=step < 3), inputs)


class NeedsInversion(Euler):
    def initial_state(self, rows, inputs):
        return State(per_row(inputs.inverted, rows))


class SecretNoise(Euler):
    def sample_step(self, step, state, rows, velocity, inputs):
        after = super().sample_step(step, state, rows, velocity, inputs)
        return State(after.latents + 0.01 * per_row(inputs.noise("secret", step), rows))


class InvertsByStrength(Euler):
    sampling_only = frozenset()
    strengths = StrengthScale("fixed_point", (2, 1))


class OneStrength(Euler):
    strengths = StrengthScale("fixed_point", (1, 1))


@pytest.mark.parametrize(
    ("kind", "check", "says"),
    [
        (Upwards, "sampling_goes_against_the_velocity", "moves along the velocity"),
        (HalfStep, "sampling_converges", "the order of sampling is measured"),
        (InPlace, "a_run_is_a_function", "writes into the latents it starts from"),
        (Noisy, "a_run_is_a_function", "global random generator"),
        (ModelTime, "it_asks_at_noise_levels", "is called at noise levels"),
        (FirstPictureForAll, "rows_belong_to_their_pictures", "rows of two pictures are the same"),
        (ForgetsRows, "rows_can_be_dropped", "when another row is dropped"),
        (SaysAlike, "rows_can_be_dropped", "said to be `alike`"),
        (SecretNoise, "it_draws_noise_where_it_says", "does not name 'sample'"),
        (InvertsByStrength, "its_strengths_are_values_of_a_parameter_of_sampling", "which inverting depends on"),
        (OneStrength, "its_strengths_are_values_of_a_parameter_of_sampling", "no choice of values"),
        (NeedsInversion, "it_starts_from_noise_without_an_inversion", "raised TypeError"),
    ],
)
def test_a_wrong_inversion_is_found(kind, check, says):
    found(checks.inversion.CHECKS, check, InversionSubject(kind.__name__, kind()), says)


KEPT = []


class Run(MethodRun):
    """Twice the output of edits, done right."""

    def __init__(self, context):
        self.sites = frozenset(site.index for site in context.sites)
        self.calls = 0

    def needs(self, step):
        return Needs(attention=self.sites)

    def weight(self, event):
        return torch.tensor([2.0 if item.is_edit else 1.0 for item in event.rows])[:, None, None, None]

    def after(self, event, output):
        return output * self.weight(event)

    def diagnostics(self):
        return {}


class WritesOutput(Run):
    def after(self, event, output):
        output *= self.weight(event)
        return output


class KeepsEvents(Run):
    def after(self, event, output):
        KEPT.append(event)
        return output


class Fickle(Run):
    def needs(self, step):
        self.calls += 1
        return Needs(attention=self.sites if self.calls > 9 else frozenset())


class Random(Run):
    def after(self, event, output):
        return output + 1e-6 * torch.randn(output.shape)


class OverTheBatch(Run):
    def after(self, event, output):
        return output - 0.1 * output.mean(dim=0, keepdim=True)


class SilentPair(Run):
    def after(self, event, output):
        pairs = [place if item.pair is None else item.pair for place, item in enumerate(event.rows)]
        return 0.5 * (output + output[pairs])


class HalfPair(Run):
    def needs(self, step):
        return Needs(attention=self.sites, pair="conditional")

    def after(self, event, output):
        pairs = [place if item.pair is None else item.pair for place, item in enumerate(event.rows)]
        return 0.5 * (output + output[pairs])


class Shared(Run):
    def after(self, event, output):
        KEPT.append(1)
        return output * (1 + 1e-3 * len(KEPT))


def made(run_class):
    class Made(Method):
        @property
        def requires(self):
            return frozenset({"joint-attention"})

        def begin(self, context):
            return run_class(context)

    return MethodSubject(run_class.__name__, Made())


@pytest.mark.parametrize(
    ("kind", "check", "says"),
    [
        (WritesOutput, "it_writes_into_nothing_it_is_given", "`after` writes into the output"),
        (KeepsEvents, "it_keeps_no_events", "are still alive"),
        (Fickle, "it_writes_into_nothing_it_is_given", "changes from Needs("),
        (Random, "a_method_is_a_function", "global random generator"),
        (OverTheBatch, "pictures_are_independent", "when another one is in the batch"),
        (OverTheBatch, "edits_are_independent", "when another one is in the batch"),
        (SilentPair, "the_source_runs_only_as_long_as_it_is_needed", "when the source's row runs to the end"),
        (
            HalfPair,
            "a_known_source_is_evaluated_where_it_is_compared",
            "when the source is evaluated only where the method pairs with it",
        ),
        (Shared, "a_method_is_a_function", "differs after another edit"),
    ],
)
def test_a_wrong_method_is_found(kind, check, says):
    KEPT.clear()
    found(checks.method.CHECKS, check, made(kind), says)
    KEPT.clear()


def test_a_right_method_passes():
    assert [run(check, made(Run)).outcome for check in checks.method.CHECKS].count("passed") == len(
        checks.method.CHECKS
    ) - 1


def test_a_method_that_is_not_neutral_is_found():
    subject = MethodSubject("loud", WordMaps(), neutral=made(Run).method)
    found(checks.method.CHECKS, "at_strength_zero_it_changes_nothing", subject, "at strength zero latents differ")


def plugin(**specs):
    class Plugin:
        headrouter_api = 1

        @hookimpl
        def register_methods(self, register):
            register(
                MethodSpec(
                    "acme", specs.get("target", "headrouter.methods.word_maps:WordMaps"), **specs.get("words", {})
                )
            )

        @hookimpl
        def register_inversions(self, register):
            register(InversionSpec("acme-euler", "headrouter_inversions.euler:Euler", summary="Euler."))

        @hookimpl
        def register_presets(self, register):
            register(Preset("fast", ("inversion", "acme-euler"), 4, specs.get("values", {}), "here"))

    known = Registry()
    known.register(Plugin(), name="acme")
    return PluginSubject("acme", known)


@pytest.mark.parametrize(
    ("specs", "check", "says"),
    [
        ({}, "classes_are_what_they_should_be", "has no summary"),
        (
            {"target": "json:JSONDecoder"},
            "classes_are_what_they_should_be",
            "derived from headrouter.methods.method.Method",
        ),
        (
            {"target": "headrouter.methods.word_maps:NoSuchThing"},
            "classes_are_what_they_should_be",
            "could not be imported",
        ),
        ({"words": {"requires": {"single-stream"}}}, "words_are_true", "single-stream"),
        ({"values": {"colour": 1}}, "models_and_presets_belong_to_something", "`colour`: unknown name"),
    ],
)
def test_a_wrong_plugin_is_found(specs, check, says):
    found(checks.plugin.CHECKS, check, plugin(**specs), says)


def test_a_plugin_that_is_not_installed_is_told(monkeypatch):
    found(checks.plugin.CHECKS, "it_is_loaded", PluginSubject("nobody"), "no plug-in of that name")


def test_a_heavy_plugin_is_found(tmp_path, monkeypatch):
    from headrouter.plugins.status import PluginStatus

    (tmp_path / "heavy_acme.py").write_text("import numpy\nheadrouter_api = 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    known = Registry()
    known.statuses.append(PluginStatus("heavy", "headrouter-heavy", "1.0", "heavy_acme"))
    found(checks.plugin.CHECKS, "it_is_light", PluginSubject("heavy", known), "loads numpy")
