"""Make the nodes that show how an edit came about: maps of words, weights of heads, the reconstruction."""

from collections.abc import Callable
from typing import Any, Final

import torch

from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError
from headrouter_comfy.node import CATEGORY, EDITS, Node, node_of
from headrouter_comfy.tensors import tensor_of

_EDIT: Final = "Number of the edit, from 0, in the order of the pictures that `Edit` gives."


def result_nodes(io: Any) -> list[Node]:
    """Return the nodes that take the edits of the node `Edit`."""
    word = io.String.Input(
        "word", default="", tooltip="A word of the edit's prompt, or several that follow each other."
    )
    return [
        _node(
            io, "word-map", "Word map", "Shows where a word of the prompt acts.", _word_map, [word], [io.Image, io.Mask]
        ),
        _node(
            io,
            "head-weights",
            "Head weights",
            "Shows how much the method weighed each attention head.",
            _heads,
            [],
            [io.Image],
        ),
        _node(
            io,
            "reconstruction",
            "Reconstruction",
            "Shows the picture after the same inversion, with its own prompt and unsteered.",
            _reconstruction,
            [],
            [io.Image],
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


def _node(
    io: Any,
    name: str,
    title: str,
    description: str,
    run: Callable[..., tuple[Any, ...]],
    more: list[Any],
    outputs: list[Any],
) -> Node:
    def schema() -> Any:
        return io.Schema(
            node_id=f"{CATEGORY}.{name}",
            display_name=f"{title} (headrouter)",
            category=CATEGORY,
            description=description,
            inputs=[
                io.Custom(EDITS).Input("edits"),
                *more,
                io.Int.Input("edit", default=0, min=0, max=999, optional=True, tooltip=_EDIT),
            ],
            outputs=[one.Output(id=f"out_{one.io_type.lower()}", display_name=one.io_type.lower()) for one in outputs],
        )

    def execute(edits: list[Result], edit: int = 0, **received: Any) -> tuple[Any, ...]:
        return run(*one_of(edits, edit), **received)

    return node_of(io, schema, execute)
