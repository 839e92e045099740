"""Make the nodes that show how an edit came about: maps of words, weights of heads, the reconstruction."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError
from headrouter_comfy.node import EDITS, Node, node_of
from headrouter_comfy.tensors import tensor_of

_EDIT: Final = "Number of the edit, from 0, in the order of the pictures that `Edit` gives."


def result_nodes(io: Any) -> list[Node]:
    """Return the nodes that take the edits of the node `Edit`."""
    number = io.Int.Input("edit", default=0, min=0, max=999, optional=True, tooltip=_EDIT)
    word = io.String.Input(
        "word", default="", tooltip="A word of the edit's prompt, or several that follow each other."
    )

    def node(name: str, about: str, show: Callable[..., tuple[Any, ...]], *more: Any, gives: Sequence[Any]) -> Node:
        def run(edits: list[Result], edit: int = 0, **received: Any) -> tuple[Any, ...]:
            return show(*one_of(edits, edit), **received)

        return node_of(
            io,
            name,
            run,
            title=f"{name.replace('-', ' ').capitalize()} (headrouter)",
            about=about,
            inputs=[io.Custom(EDITS).Input("edits"), *more, number],
            outputs=[one.Output(id=f"out_{one.io_type.lower()}", display_name=one.io_type.lower()) for one in gives],
        )

    picture, both = [io.Image], [io.Image, io.Mask]
    return [
        node("word-map", "Shows where a word of the prompt acts.", _word_map, word, gives=both),
        node("head-weights", "Shows how much the method weighed each attention head.", _heads, gives=picture),
        node(
            "reconstruction",
            "Shows the picture after the same inversion, with its own prompt and unsteered.",
            _reconstruction,
            gives=picture,
        ),
    ]


def one_of(results: list[Result], number: int) -> tuple[Result, int]:
    """Return the result that an edit belongs to, and its number there.

    Raises:
        InvalidInputError: there is no such edit.
    """
    places = [(result, own) for result in results for own in range(len(result.images))]
    if not 0 <= number < len(places):
        raise InvalidInputError(f"`edit` must be 0 to {len(places) - 1} (got {number}).")
    return places[number]


def _word_map(result: Result, number: int, word: str) -> tuple[Any, ...]:
    from headrouter.editing.sheet import word_picture, word_shares  # Matplotlib takes half a second to import

    shares = torch.from_numpy(word_shares(result, word.strip(), number))
    return tensor_of([word_picture(result, word.strip(), number)]), shares[None]


def _heads(result: Result, number: int) -> tuple[Any, ...]:
    from headrouter.editing.sheet import heads_picture

    return (tensor_of([heads_picture(result, number)]),)


def _reconstruction(result: Result, number: int) -> tuple[Any, ...]:
    return (tensor_of([result.reconstruction]),)
