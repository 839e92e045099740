"""Masks with one mistake each are found."""

import pytest
import torch

from headrouter.masks.mask import Mask, MaskRun
from headrouter.testing import MaskSubject, checks
from headrouter.testing.check import run

OUTSIDE: list[torch.nn.Module] = []


class Run(MaskRun):
    """Half the picture, done right; a mutant changes one thing."""

    def on_latents(self, row):
        value = torch.zeros(self.context.grid)
        value[:, : self.context.grid[1] // 2] = 1
        return value


class Listens(Run):
    """As large as the attention that it has heard of."""

    heard = 0.0

    @property
    def sites(self):
        return frozenset(site.index for site in self.context.sites)

    def hear(self, event, output):
        self.heard += 0.01

    def on_latents(self, row):
        return torch.full(self.context.grid, self.heard)


class TooLarge(Run):
    def on_latents(self, row):
        return 2 * super().on_latents(row)


class SoftUnsaid(Run):
    def on_latents(self, row):
        return super().on_latents(row) / 2


class OtherGrid(Run):
    def on_latents(self, row):
        return super().on_latents(row)[:, :-1]


class Late(Run):
    asked = 0

    def on_latents(self, row):
        self.asked += 1
        return super().on_latents(row) if self.asked > 20 else None


class Steers(Listens):
    def hear(self, event, output):
        super().hear(event, output)
        output *= 1.01


class Draws(Run):
    def on_latents(self, row):
        return super().on_latents(row) * (torch.rand(1) < 2)


class OverTheBatch(Run):
    def on_latents(self, row):
        return super().on_latents(row) * (len(self.context.edits) == 1)


class Remembers(Run):
    runs = 0

    def __init__(self, mask, context):
        super().__init__(mask, context)
        type(self).runs += 1

    def on_latents(self, row):
        return super().on_latents(row) * (type(self).runs % 3 == 1)


class Uncounted(Run):
    def on_latents(self, row):
        OUTSIDE[-1].velocity(self.context.source, 0.5, [row])
        return super().on_latents(row)


class ScoutsUnsaid(Run):
    def __init__(self, mask, context):
        super().__init__(mask, context)
        type(mask).scouts = True

    def scout(self, evaluate):
        evaluate(self.context.source[:1], 0.5, self.context.rows[:1])
        type(self.mask).scouts = False


class Crashes(Run):
    def __init__(self, mask, context):
        super().__init__(mask, context)
        next(row for row in context.rows if row.is_source)


def made(kind):
    class Made(Mask):
        @property
        def is_soft(self):
            return kind is Listens or kind is Steers

        def begin(self, context):
            return kind(self, context)

    return MaskSubject(kind.__name__, Made())


@pytest.mark.parametrize(
    ("kind", "check", "says"),
    [
        (TooLarge, "its_values_are_shares", "goes from 0.0 to 2.0"),
        (SoftUnsaid, "its_values_are_shares", "says it is not soft"),
        (OtherGrid, "its_values_are_shares", "raised RuntimeError"),
        (Late, "it_is_known_when_it_says", "after the first step it is not known"),
        (Listens, "it_stays_within_a_call", "changes from block to block"),
        (Steers, "it_changes_nothing_by_itself", "the edit differs"),
        (Draws, "a_mask_is_a_function", "global random generator"),
        (Remembers, "a_mask_is_a_function", "has another mask after another edit"),
        (OverTheBatch, "each_edit_has_its_own", "when another edit is in the batch"),
        (Uncounted, "what_it_runs_is_counted", "are counted"),
        (ScoutsUnsaid, "what_it_runs_is_counted", "does not say `scouts`"),
        (Crashes, "a_mask_without_a_source_works_or_is_refused", "raised StopIteration"),
    ],
)
def test_a_wrong_mask_is_found(kind, check, says, monkeypatch):
    from headrouter.testing.checks import mask

    toy = mask.ToyMMDiT
    monkeypatch.setattr(mask, "ToyMMDiT", lambda: OUTSIDE.append(toy()) or OUTSIDE[-1])
    [chosen] = [each for each in checks.mask.CHECKS if each.name == check]
    result = run(chosen, made(kind))
    assert result.outcome == "failed"
    assert says in result.message.partition("\nIf this fails")[0]


def test_a_right_one_passes():
    outcomes = {run(check, made(Run)).outcome for check in checks.mask.CHECKS}
    assert outcomes == {"passed"}
