"""Edit several pictures by one loaded model, and report those that fail."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from headrouter.cli.editing import edited, save, summary
from headrouter.cli.parts import editor_of
from headrouter.cli.streams import say
from headrouter.errors import HeadRouterError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tqdm import tqdm

    from headrouter.cli.pictures import Photo
    from headrouter.editing.editor import Editor
    from headrouter.editing.result import Result


def edit_each(arguments: argparse.Namespace) -> int:
    """Edit each picture by one loaded model; report what fails with one, end at what fails with all."""
    from tqdm import tqdm

    from headrouter.cli.pictures import pictures_of, read_in_groups
    from headrouter.imaging.picture import output_folder

    pictures, editor, failures = pictures_of(arguments.image), None, list[str]()
    with output_folder(arguments.output) as folder, _bar(len(pictures), arguments) as bar:

        def unread(error: HeadRouterError) -> None:
            bar.update()
            _note(failures, str(error))

        for group in read_in_groups(pictures, _together(arguments), unread):
            editor = editor or editor_of(arguments)  # what is wrong here is wrong for all
            for photo, outcome in zip(group, _outcomes(editor, group, arguments), strict=True):
                bar.update()
                try:
                    if isinstance(outcome, HeadRouterError):
                        raise outcome
                    save(outcome, folder / photo.name, arguments)
                except HeadRouterError as error:
                    _refuse_all(error, failures)
                    _note(failures, f"'{photo.path}': {error}")
                else:
                    tqdm.write(summary(outcome, folder / photo.name), file=sys.stdout)
        if len(failures) == len(pictures):
            raise InvalidInputError(f"none of {len(pictures)} pictures could be edited; see the errors above.")
    if failures:
        say(f"headrouter: {len(failures)} of {len(pictures)} pictures could not be edited.")
    return 2 if failures else 0


def _bar(count: int, arguments: argparse.Namespace) -> "tqdm[Any]":
    from tqdm import tqdm

    return tqdm(total=count, desc="pictures", unit="picture", disable=arguments.no_progress or None)


def _together(arguments: argparse.Namespace) -> int:
    """Return how many pictures fit into ``--max-rows`` with their edits; one if it is not given."""
    return max(1, (arguments.max_rows or 0) // (1 + len(arguments.prompt)))


def _outcomes(
    editor: "Editor", group: "Sequence[Photo]", arguments: argparse.Namespace
) -> "Iterator[Result | HeadRouterError]":
    """Yield what comes of each picture: edited together, or each alone if that fails."""
    try:
        yield from edited(editor, [photo.picture for photo in group], arguments)
    except HeadRouterError as error:
        if len(group) == 1:
            yield error
        else:
            for photo in group:
                yield from _outcomes(editor, [photo], arguments)


def _note(failures: list[str], message: str) -> None:
    from tqdm import tqdm

    failures.append(message)
    with tqdm.external_write_mode(file=sys.stderr):
        say(f"headrouter: {message}")


def _refuse_all(error: HeadRouterError, failures: list[str]) -> None:
    """Raise an error that two pictures in turn failed with, word for word, and that is not about the picture."""
    message = str(error)
    if "`image`" not in message and failures and failures[-1].endswith(f": {message}"):
        raise error
