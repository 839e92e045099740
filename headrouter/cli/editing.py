"""Edit pictures as a command line asks, save what came out, and say so."""

import argparse
from typing import TYPE_CHECKING

from headrouter.cli.options import size_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from headrouter.editing.editor import Editor
    from headrouter.editing.result import Result


def edited(editor: "Editor", pictures: "Sequence[Image.Image]", arguments: argparse.Namespace) -> "list[Result]":
    """Edit pictures of one size together, with the knobs as they are."""
    return editor.edit_together(
        pictures,
        arguments.prompt,
        arguments.source,
        negative_prompt=arguments.negative,
        preset=arguments.preset,
        keep=arguments.keep,
        push=arguments.push,
        strength=arguments.strength,
        steps=arguments.steps,
        guidance=arguments.guidance,
        seed=arguments.seed or 0,
        size=size_of(arguments.size),
        references=arguments.reference,
        mask=arguments.mask,
        paste=arguments.paste,
        feather=arguments.feather,
    )


def save(result: "Result", folder: "Path", arguments: argparse.Namespace) -> None:
    """Save an edit with its record, and the sheets that are asked for."""
    result.save(folder)
    if arguments.sheet:
        _draw_sheets(result, folder)


def summary(result: "Result", folder: "Path") -> str:
    """Return a line for each edit and one for the record."""
    lines = []
    for number, (prompt, seed) in enumerate(zip(result.prompts, result.seeds, strict=True)):
        remark = f"  (seed {seed})" if len(set(result.seeds)) > 1 else ""
        if result.strengths:
            remark += f"  ({result.strengths[number]})"
        lines.append(f"{folder / f'edit-{number}.png'}  {prompt.text}{remark}")
    return "\n".join([*lines, f"{folder / 'result.json'}  {result.cost}"])


def _draw_sheets(result: "Result", folder: "Path") -> None:
    from headrouter.editing.sheet import edit_sheet
    from headrouter.imaging.picture import save_picture

    for number in range(len(result.images)):
        save_picture(edit_sheet(result, number), folder / f"sheet-{number}.png")
