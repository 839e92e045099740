"""``python -m benchmarks.rows``: count the rows that the model evaluates for one edit, and write them into ``docs/inversions.md``.

Rows are what an edit costs, whatever the model: of each call the source's and the edit's, and in two passes of guidance both
branches of each. They are counted in whole edits of the toy model, with the constants that parts have by default.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from headrouter.attention.rows import batch_rows, guided_velocity
from headrouter.editing.assembly import inversion_of, methods_of
from headrouter.editing.batch import Batch, Task
from headrouter.editing.tuning import Plan
from headrouter.testing.toy import ToyMMDiT

PAGE: Final = Path(__file__).parents[1] / "docs" / "inversions.md"
STEPS: Final = 28
INVERSIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "`euler`": ("euler", {}),
    "`rf`": ("rf", {}),
    "`rf`, `hold_source`": ("rf", {"hold_source": True}),
    "`rf-sde`": ("rf-sde", {}),
    "`rf-sde`, `hold_source`": ("rf-sde", {"hold_source": True}),
    "`rf-solver`": ("rf-solver", {}),
    "`fireflow`": ("fireflow", {}),
    "`directedit`": ("directedit", {}),
    "`flowedit`": ("flowedit", {}),
    "`sdedit`": ("sdedit", {}),
}
METHODS: Final = ("none", "maps", "headrouter", "injection", "local-blend")
SIDE: Final = 16


class Embedded(ToyMMDiT):  # type: ignore[misc]
    """A toy that takes its guidance as a number, as FLUX.1-dev does."""

    @property
    def provides(self) -> frozenset[str]:
        """All but a negative prompt."""
        return super().provides - {"negative-prompt"}

    def batch_size(self, rows: Any) -> int:
        """One branch of each row."""
        return len(batch_rows(rows, guided=False))

    def velocity(self, latents: torch.Tensor, sigma: float, rows: Any) -> torch.Tensor:
        """The velocity of the conditional branch of each row."""
        return guided_velocity(lambda batch, items: self._predict(batch, sigma, items), latents, rows, guided=False)


def counted(backbone: ToyMMDiT, name: str, values: dict[str, Any]) -> Iterator[int]:
    """Rows of one edit, of one picture by one prompt, with each method."""
    inversion = inversion_of(name, values)
    plan = Plan(inversion, (), inversion.steps or STEPS, inversion.guidance or 3.0)
    task = Task(("a blue cat",), (0,), "a red cat", torch.zeros(1, 3, SIDE, SIDE))
    plain = Batch(backbone, plan, (task,), (SIDE, SIDE))
    start, inverted = plain.invert()
    for method in METHODS:
        steered = replace(plain, plan=replace(plan, methods=methods_of(method)))
        yield (inverted + steered.edit(start).cost).rows


def lines() -> Iterator[str]:
    """The table: rows in two passes, and with embedded guidance."""
    backbones = ToyMMDiT(), Embedded()
    yield f"| inversion | N | {' | '.join(f'`{method}`' for method in METHODS)} |"
    yield "|" + "---|" * (2 + len(METHODS))
    for label, (name, values) in INVERSIONS.items():
        numbers = zip(*(counted(backbone, name, values) for backbone in backbones), strict=True)
        cells = " | ".join(" / ".join(map(str, both)) for both in numbers)
        yield f"| {label} | {inversion_of(name, values).steps or STEPS} | {cells} |"


def main() -> None:
    """Put the table in the place of the one on the page."""
    table, text = "\n".join(lines()), PAGE.read_text(encoding="utf-8")
    print(table)
    old = re.compile(r"(?<=\n)\| inversion \| N \|.*?\n(?=\n)", re.DOTALL)
    assert old.search(text), f"{PAGE.name} has no table that begins with | inversion | N |"
    PAGE.write_text(old.sub(lambda _: table + "\n", text, count=1), encoding="utf-8")


if __name__ == "__main__":
    main()
