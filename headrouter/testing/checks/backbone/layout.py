"""Check the token layout: positions of text tokens and of patches in the joint sequence."""

from torch import Tensor

from headrouter.attention.joint_attention import TokenLayout
from headrouter.attention.rows import Row
from headrouter.models.backbone import Backbone
from headrouter.testing.check import check, collect, expect, fail
from headrouter.testing.probe import (
    SIGMA,
    Recorder,
    Size,
    changed_positions,
    latents_of,
    oblong,
    recorded,
    rows_of,
    shaken,
    square,
    text_axes,
    text_length,
    text_tensors,
    with_tensors,
)
from headrouter.testing.subjects import BackboneSubject


@check(since="0.1")
def every_size_works(subject: BackboneSubject) -> None:
    """Square, wide and high pictures work, and the grid has rows and columns of square patches.

    If this fails: take rows and columns from the latents that come, height first; do not take one side for both.
    """
    backbone = subject.build()
    rows, wide = rows_of(backbone, "a cat"), oblong(backbone)
    for width, height in (square(backbone), wide, wide[::-1]):
        latents = latents_of(backbone, 1, (width, height))
        try:
            velocity = backbone.velocity(latents, SIGMA, rows)
            grid = recorded(backbone, latents, rows).layouts[0].grid
        except Exception as error:
            shape = "a square picture" if width == height else "a picture that is not square"
            fail(f"{shape}, {width} × {height}, does not work: {type(error).__name__}: {error}")
        expect(velocity.shape == latents.shape, f"the velocity is {tuple(velocity.shape)} for {tuple(latents.shape)}")
        sides = [latents.shape[2] / grid[0], latents.shape[3] / grid[1]]
        expect(
            sides[0] == sides[1] and sides[0] % 1 == 0,
            f"grid {grid} for latents of {latents.shape[2]} × {latents.shape[3]} has patches of {sides[0]:g} ×"
            f" {sides[1]:g}, not square: are rows and columns swapped?",
        )


@check(since="0.1")
def text_tokens_are_where_the_layout_says(subject: BackboneSubject) -> None:
    """Changing one text token changes, at the first site, the key at its position of `layout.text`, alone.

    Where a refiner mixes text before it, that key changes most of all text keys.

    If this fails: compare the order in which the model joins text, image and registers with the layout's.
    """
    backbone = subject.build()
    [row], latents = rows_of(backbone, "a cat", guidance=1.0), latents_of(backbone)
    plain = recorded(backbone, latents, [row])
    layout = plain.layouts[0]
    for position in (0, 1, text_length(layout) - 1):
        tensors = {}
        for name in text_tensors(row.prompt, layout):
            tensors[name] = row.prompt.tensors[name].clone()
            tensors[name][:, position] = shaken(tensors[name][:, position])
        other = recorded(backbone, latents, [with_tensors(row, **tensors)])
        where, wanted = _where(plain.events[0].key, other.events[0].key, layout), layout.text.start + position
        expect(
            where == [wanted],
            f"text token {position} is the key at {where} of the sequence, the layout says {wanted} (text {_span(layout.text)},"
            f" image {_span(layout.image)})",
        )


@check(since="0.1")
def patches_are_where_the_layout_says(subject: BackboneSubject) -> None:
    """Changing one patch of the latents changes, at the first site, the key of its place in the grid, alone.

    Where a refiner mixes the image before it, that key changes most of all image keys.

    If this fails: image tokens must be in row-major order, `layout.grid` be (rows, columns), and `layout.image` where they are.
    """
    backbone = subject.build()
    rows = rows_of(backbone, "a cat", guidance=1.0)
    for size in (oblong(backbone), square(backbone)):
        _patches(backbone, rows, size)


def _patches(backbone: Backbone, rows: list[Row], size: Size) -> None:
    latents = latents_of(backbone, 1, size)
    plain = recorded(backbone, latents, rows)
    layout = plain.layouts[0]
    high, wide = latents.shape[2] // layout.grid[0], latents.shape[3] // layout.grid[1]
    for row, column in ((0, 1), (1, 0), (layout.grid[0] - 1, layout.grid[1] - 2)):
        other = latents.clone()
        other[..., row * high : (row + 1) * high, column * wide : (column + 1) * wide] += 1
        where = _where(plain.events[0].key, recorded(backbone, other, rows).events[0].key, layout)
        wanted = layout.image.start + row * layout.grid[1] + column
        expect(
            where == [wanted],
            f"the patch in row {row}, column {column} of grid {layout.grid} is the key at {where} of the sequence, the layout"
            f" says {wanted}",
        )


@check(since="0.1")
def the_layout_follows_the_text(subject: BackboneSubject) -> None:
    """A text shorter by a token gives a layout shorter by a token.

    If this fails: take the number of text tokens from the tensors that come, not from a number in the code.
    """
    backbone = subject.build()
    [row], latents = rows_of(backbone, "a cat", guidance=1.0), latents_of(backbone)
    layout = recorded(backbone, latents, [row]).layouts[0]
    length = text_length(layout)
    text_tensors(row.prompt, layout)
    shorter = dict(row.prompt.tensors)
    for name, axes in text_axes(row.prompt, length).items():
        for axis in axes:
            shorter[name] = shorter[name].narrow(axis, 0, length - 1)
    try:
        found = text_length(recorded(backbone, latents, [with_tensors(row, **shorter)]).layouts[0])
    except Exception as error:
        fail(f"a text of {length - 1} tokens instead of {length} does not work: {type(error).__name__}: {error}")
    expect(found == length - 1, f"the layout has {found} text tokens for a text of {length - 1}")


@check(since="0.1")
def the_layout_is_that_of_the_tensors(subject: BackboneSubject) -> None:
    """Every event of a forward pass has the layout of its beginning, and as many tokens.

    If this fails: make the layout once, when the forward pass begins.
    """
    backbone = subject.build()
    recorder: Recorder = recorded(backbone, latents_of(backbone), rows_of(backbone, "a cat"))
    layout = recorder.layouts[0]
    for event in recorder.events:
        expect(event.layout == layout, f"the layout changes at {event.site.path}")
        expect(event.key.shape[2] == layout.length, f"{event.key.shape[2]} keys for {layout.length} tokens")


def _where(one: Tensor, other: Tensor, layout: TokenLayout) -> list[int]:
    """Return the token whose key differs, or differs most where several of one part do; padding aside."""
    padding = {place for part in layout.padding for place in range(part.start, part.stop)}
    where = [place for place in changed_positions(one, other) if place not in padding]
    if len(where) > 1 and any(part.start <= where[0] and where[-1] < part.stop for part in (layout.text, layout.image)):
        changes = (other - one).float().norm(dim=3).sum(dim=(0, 1))
        return [max(where, key=changes.tolist().__getitem__)]
    return where


def _span(part: slice) -> str:
    return f"{part.start}:{part.stop}"


CHECKS = collect(globals())
