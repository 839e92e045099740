"""Check reference pictures: their tokens are where the layout says, each matters, and each row has its own."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.errors import InvalidInputError
from headrouter.models.backbone import Backbone
from headrouter.testing.check import check, collect, expect, fail
from headrouter.testing.probe import (
    SIGMA,
    changed_positions,
    distance,
    encoded,
    latents_of,
    pictures_for,
    recorded,
    rows_of,
    two_passes,
)
from headrouter.testing.subjects import BackboneSubject

_CLOSE = 1e-5


@check(since="0.4", requires={"reference-pictures"})
def reference_pictures_are_where_the_layout_says(subject: BackboneSubject) -> None:
    """Changing a patch of a reference picture changes, at the first site, the key of its place in its own grid, alone.

    If this fails: the layout has a group for each reference picture, in the order in which they are joined, behind or before the
    image, whose tokens are those of the new picture alone; a grid is (rows, columns), that of the reference picture itself.
    """
    backbone = subject.build()
    number = min(2, backbone.most_references)
    [row], latents = _rows(backbone, number), latents_of(backbone)
    plain = recorded(backbone, latents, [row])
    layout = plain.layouts[0]
    expect(
        len(layout.references) == number,
        f"the layout has {len(layout.references)} groups of tokens for {number} reference pictures",
    )
    for place, (given, group) in enumerate(zip(row.references, layout.references, strict=True)):
        high, wide = given.shape[2] / group.grid[0], given.shape[3] / group.grid[1]
        expect(
            high == wide and high % 1 == 0,
            f"grid {group.grid} for reference picture {place} of {given.shape[2]} × {given.shape[3]} latents has patches of"
            f" {high:g} × {wide:g}, not square: are rows and columns swapped?",
        )
        side = int(high)
        for line, column in ((0, 1), (1, 0), (group.grid[0] - 1, group.grid[1] - 1)):
            other = given.clone()
            other[..., line * side : (line + 1) * side, column * side : (column + 1) * side] += 1
            changed = replace(row, references=(*row.references[:place], other, *row.references[place + 1 :]))
            where = changed_positions(plain.events[0].key, recorded(backbone, latents, [changed]).events[0].key)
            wanted = group.tokens.start + line * group.grid[1] + column
            expect(
                where == [wanted],
                f"the patch in row {line}, column {column} of reference picture {place} is the key at {where} of the sequence, the"
                f" layout says {wanted}",
            )


@check(since="0.4", requires={"reference-pictures"})
def each_reference_picture_matters(subject: BackboneSubject) -> None:
    """Each reference picture, and its order, changes the velocity, in both branches of guidance.

    If this fails: a picture is lost on the way, or pictures share positions; both branches are given the pictures.
    """
    backbone = subject.build()
    number = min(2, backbone.most_references)
    [row], latents = _rows(backbone, number), latents_of(backbone)
    for name, guidance in (("conditional", 1.0), *((("unconditional", 0.0),) if two_passes(backbone, row) else ())):
        one = replace(row, guidance=guidance)
        plain = backbone.velocity(latents, SIGMA, [one])
        for place, given in enumerate(row.references):
            others = (*row.references[:place], given + 1, *row.references[place + 1 :])
            off = distance(backbone.velocity(latents, SIGMA, [replace(one, references=others)]), plain)
            expect(off > _CLOSE, f"reference picture {place} does not matter to the {name} branch")
    alike = tuple(row.references[0] + place for place in range(number))
    first, second = (
        backbone.velocity(latents, SIGMA, [replace(row, references=order)]) for order in (alike, alike[::-1])
    )
    expect(number == 1 or distance(first, second) > _CLOSE, "the order of reference pictures does not matter")


@check(since="0.4", requires={"reference-pictures"})
def each_row_has_its_own_reference_pictures(subject: BackboneSubject) -> None:
    """Rows with other reference pictures of the same sizes have, together, the velocities that they have alone.

    If this fails: take the pictures of each batch row, both branches of guidance included, not those of the first.
    """
    backbone = subject.build()
    number = min(2, backbone.most_references)
    rows = [replace(_rows(backbone, number, seed)[0], edit=seed or None) for seed in (0, 1)]
    latents = latents_of(backbone, 2)
    together = backbone.velocity(latents, SIGMA, rows)
    for place, row in enumerate(rows):
        off = distance(together[place], backbone.velocity(latents[place : place + 1], SIGMA, [row])[0])
        expect(off <= _CLOSE, f"row {place} of two differs by {off:.1e} from the same row alone")
    other = rows_of(backbone, "a cat", pictures=pictures_for(backbone, number, seed=2))[0].references
    turned = tuple(each.mT for each in other)
    _refused(backbone, latents, [rows[0], replace(rows[1], references=turned)], "of other sizes")


@check(since="0.4", requires={"reference-pictures"})
def too_many_reference_pictures_are_refused(subject: BackboneSubject) -> None:
    """More reference pictures than the model takes are refused, by a sentence with their number.

    If this fails: compare with `most_references`; what a model was not trained on gives pictures, and wrong ones.
    """
    backbone = subject.build()
    [row] = _rows(backbone, 1)
    many = replace(row, references=row.references * (backbone.most_references + 1))
    _refused(backbone, latents_of(backbone), [many], f"{backbone.most_references + 1} of them")


@check(since="0.4", requires={"reference-pictures"})
def prompts_say_whether_they_read_pictures(subject: BackboneSubject) -> None:
    """A prompt depends on the reference pictures that it is encoded with exactly where `reads_references` says so.

    If this fails: prompts are shared by pictures where it is False.
    """
    backbone = subject.build()
    one, other = (encoded(backbone, "a cat", pictures=pictures_for(backbone, 1, seed))[0] for seed in (0, 1))
    same = all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    reads = backbone.reads_references
    expect(same != reads, f"`reads_references` is {reads}, and the prompt is {'the same' if same else 'another'}")


def _rows(backbone: Backbone, number: int, seed: int = 0) -> list[Row]:
    return rows_of(backbone, "a cat", guidance=1.0, pictures=pictures_for(backbone, number, seed))


def _refused(backbone: Backbone, latents: Tensor, rows: Sequence[Row], which: str) -> None:
    try:
        backbone.velocity(latents, SIGMA, rows)
    except InvalidInputError:
        return
    except Exception as error:
        fail(f"reference pictures {which} end in {type(error).__name__}: {error}")
    fail(f"reference pictures {which} are taken")


CHECKS = collect(globals())
