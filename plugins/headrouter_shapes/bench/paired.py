"""Compare one configuration with another, edit by edit.

The mean PSNR of what must not change flatters failures: an edit that changes nothing keeps everything. Of two
configurations that succeed in different edits it compares different things. So preservation is compared in the edits that
succeed in both, and success in all.
"""

import dataclasses
from collections.abc import Sequence

from headrouter.errors import InvalidInputError
from headrouter.experiments.statistics import Estimate, mean
from headrouter_shapes.bench.records import Row


@dataclasses.dataclass(frozen=True, slots=True)
class Paired:
    """Holds differences between a configuration and its baseline, with 95 % intervals; positive is better.

    Attributes:
        configuration, baseline: Names.
        success: Difference of the rates of success.
        preservation: Mean difference of PSNR to the source outside the changed region, dB, over edits that succeed in both.
        truth: Mean difference of PSNR to the true target, dB, over all edits.
    """

    configuration: str
    baseline: str
    success: Estimate
    preservation: Estimate
    truth: Estimate


def compare(rows: Sequence[Row], baseline: Sequence[Row]) -> Paired:
    """Compare the rows of one configuration with those of another, on the same edits.

    Raises:
        InvalidInputError: other edits, or none.
    """
    known = {row.case: row for row in baseline}
    if not rows or sorted(known) != sorted(row.case for row in rows):
        raise InvalidInputError("`baseline` must have the same edits as `rows`, one row for each.")
    pairs = [(row.measures, known[row.case].measures) for row in rows]
    sources, kinds = [row.source_number for row in rows], [row.kind for row in rows]
    both = [index for index, (one, other) in enumerate(pairs) if one.success and other.success]
    return Paired(
        rows[0].configuration,
        baseline[0].configuration,
        success=mean([float(one.success) - float(other.success) for one, other in pairs], sources, kinds),
        preservation=mean(
            [pairs[index][0].preservation - pairs[index][1].preservation for index in both],
            [sources[index] for index in both],
            [kinds[index] for index in both],
        ),
        truth=mean([one.truth - other.truth for one, other in pairs], sources, kinds),
    )


def paired_rows(rows: Sequence[Row], baseline: str) -> dict[str, list[Paired]]:
    """Compare every configuration with the one named ``baseline``, backbone by backbone, except the two bounds."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.backbone, row.configuration), []).append(row)
    found: dict[str, list[Paired]] = {}
    for (backbone, name), some in grouped.items():
        if name not in (baseline, "reference source", "reference target"):
            found.setdefault(backbone, []).append(compare(some, grouped[backbone, baseline]))
    return found
