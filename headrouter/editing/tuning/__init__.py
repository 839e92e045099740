"""Settle the plan of a run from parts, preset, knobs and defaults."""

from headrouter.editing.tuning.knob import field_of, with_knob
from headrouter.editing.tuning.plan import Guidance, Knobs, Only, Plan, Steps, Strength
from headrouter.editing.tuning.preset import with_preset
from headrouter.editing.tuning.settling import settle, with_mask

__all__ = [
    "Guidance",
    "Knobs",
    "Only",
    "Plan",
    "Steps",
    "Strength",
    "field_of",
    "settle",
    "with_knob",
    "with_mask",
    "with_preset",
]
