"""Hold the result of an edit: its pictures, its record and the diagnostics of each method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import SupportsIndex, final

from jaxtyping import Float
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from headrouter import renamed
from headrouter.editing.assembly import names_of
from headrouter.editing.batch import Batch, Edited
from headrouter.editing.record import SOURCE, Record, reference_file
from headrouter.editing.record_file import RECORD, as_json, read_plain
from headrouter.editing.request import Settled
from headrouter.editing.saving import Counts, save_together
from headrouter.errors import InvalidInputError
from headrouter.imaging.measure import ssim
from headrouter.imaging.pasting import pasted
from headrouter.imaging.picture import psnr, writable_folder
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.cost import Cost


@final
class Later:
    """Makes a picture when it is called; copies share the function, and a pickled one has none."""

    def __init__(self, make: Callable[[], Image.Image] | None = None):
        """Keep ``make``, which needs the model; None after pickling."""
        self._make = make

    def __call__(self) -> Image.Image:
        """Return the picture."""
        if self._make is None:
            raise InvalidInputError(
                "this result has no `reconstruction`: it comes from another process, and the model stayed there. Read "
                "`reconstruction` before the result is sent."
            )
        return self._make()

    def __copy__(self) -> "Later":
        """Return the same object."""
        return self

    def __deepcopy__(self, memo: object) -> "Later":
        """Return the same object: the model is not copied."""
        return self

    def __reduce__(self) -> tuple[type["Later"], tuple[()]]:
        """Leave the model behind."""
        return Later, ()


@final
@dataclass(eq=False)
class Result:
    """Holds the pictures, the record and the diagnostics of an edit.

    Attributes:
        source: The picture that was edited, in its own size.
        images: One edited picture for each prompt, and for each seed of it, in the size of the source.
        prompts: The target prompt of each of ``images``.
        seeds: The seed of each of ``images``.
        source_prompt: Prompt of the source's row.
        references: Reference pictures beside the source.
        cost: Model calls, rows, seconds and peak memory, of inversion and sampling.
        record: All that the edit depends on, from which it can be run again.
        strengths: With ``strength="auto"`` the parameter and value that each of ``images`` was made with, ``last_steps=0.5``.
        diagnostics: Tensors that each method recorded: a name of the method, then named tensors; those of the mask under ``mask``.
    """

    source: Image.Image
    images: list[Image.Image]
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    source_prompt: Prompt
    cost: Cost
    record: Record
    diagnostics: list[tuple[str, Mapping[str, Tensor]]]
    _reconstruct: "Later" = field(repr=False)
    references: tuple[Image.Image, ...] = ()
    strengths: tuple[str, ...] = ()

    evidence = renamed.attribute("evidence", "diagnostics")

    @staticmethod
    def of(every: Sequence[Settled], records: Sequence[Record], batch: Batch, edited: Edited) -> "list[Result]":
        """Return each picture's share of what was edited together.

        Args:
            every, records: What was asked, and what is on record of it.
            batch, edited: What was run, and what it gave.
        """
        asked, cost = every[0].request, edited.cost.share(len(every))
        names, results = [*names_of("method", batch.plan.methods), "mask"], []
        for place, (given, record) in enumerate(zip(every, records, strict=True)):
            prompts = tuple(batch.prompt(place, text) for text in asked.prompt for _ in asked.seed)
            own = slice(place * len(prompts), (place + 1) * len(prompts))
            shares = [
                {name: tensor[own] for name, tensor in one.items()} for one in (*edited.diagnostics, edited.masks)
            ]
            images = batch.pictures(edited.latents[own])
            if batch.plan.paste:
                areas = edited.masks["areas"][own].numpy()
                images = [
                    pasted(one, given.picture, area, batch.plan.feather)
                    for one, area in zip(images, areas, strict=True)
                ]
            results.append(
                Result(
                    source=given.picture,
                    images=images,
                    prompts=prompts,
                    seeds=asked.seed * len(asked.prompt),
                    source_prompt=batch.prompt(place, batch.tasks[place].source or ""),
                    cost=cost,
                    record=record,
                    diagnostics=[one for one in zip(names, shares, strict=True) if one[1] or one[0] != "mask"],
                    _reconstruct=Later(partial(_reconstructed, batch, place, edited.inverted[:1])),
                    references=given.references,
                    strengths=edited.strengths[own],
                )
            )
        return results

    @property
    def image(self) -> Image.Image:
        """Return the edited picture; the first one if there are several prompts."""
        return self.images[0]

    @property
    def head_weights(self) -> Float[Tensor, "edits steps layers heads"]:
        """Return w_h that head routing gave each head, mean over a step's evaluations; NaN where it did not act."""
        return self.recorded("head_weights")

    def text_map(self, word: str, prompt: int = 0) -> Float[Tensor, "rows columns"]:
        """Return how much attention each image token gives to a word of a prompt, on the model's token grid.

        Mean over heads, layers, steps and the word's tokens; a value is a probability.

        Args:
            word: A word, or several, of the prompt, all its occurrences.
            prompt: Number of the edit, in the order of ``images``.

        Raises:
            InvalidInputError: the word is not in the prompt or has no token, or there is no such prompt.
        """
        self.refuse_unknown(prompt)
        positions = self.prompts[prompt].find(word)
        return self.recorded("text_maps")[prompt, list(positions)].mean(dim=0)

    def mask(self, prompt: int = 0) -> Image.Image:
        """Return the mask of an edit in the size of the source: white where the edit may act, black elsewhere.

        That of the edit, or else the first that a part has, as it was last. ``recorded("masks")`` has every step's, [edit, step,
        row, column] of the latents, NaN in steps in which it was not known or no longer used.

        Raises:
            InvalidInputError: no part has a mask, no step had one, or there is no such prompt.
        """
        if not self.has_mask(prompt) and self.has("masks"):
            raise InvalidInputError("this edit has no mask: the model was not called in any of the steps that use it.")
        self.recorded("masks")
        return Image.fromarray(self.recorded("areas")[prompt].numpy())

    @cached_property
    def reconstruction(self) -> Image.Image:
        """Return the source after the same inversion and sampling, with its own prompt, unsteered; computed on first use.

        With several seeds, of the first.

        Raises:
            InvalidInputError: the result comes from another process, where it was not computed; the model is there.
        """
        return self._reconstruct()

    def save(self, folder: str | Path) -> Path:
        """Write ``source.png``, ``edit-0.png`` …, and ``result.json``, from which the edit can be run again.

        Also ``mask-0.png`` … of edits that have a mask.

        An edit that is there is replaced, with its masks, sheets and reference pictures. At any moment, killed or not, a record has
        its own pictures beside it; if the disk is full, the earlier edit stays.

        Raises:
            InvalidInputError: the folder cannot be written to.
        """
        target = writable_folder(folder)
        names = [f"edit-{number}.png" for number in range(len(self.images))]
        pictures = {
            SOURCE: self.source,
            **{reference_file(n): one for n, one in enumerate(self.references, 1)},
            **dict(zip(names, self.images, strict=True)),
        }
        pictures |= {f"mask-{number}.png": self.mask(number) for number in range(len(names)) if self.has_mask(number)}
        cost = {**asdict(self.cost), "seconds": round(self.cost.seconds, 3)}
        plain = {**self.record.plain(), "cost": cost, "images": names}
        plain |= {"strengths": list(self.strengths)} if self.strengths else {}
        files = {name: _png(picture) for name, picture in pictures.items()} | {RECORD: as_json(plain)}
        save_together(target, files, (len(names), len(self.references)), lambda: _counts_of(target / RECORD))
        return target

    def refuse_unknown(self, prompt: int) -> None:
        """Refuse a ``prompt`` that is not the number of an edit.

        Raises:
            InvalidInputError: there is no such edit.
        """
        if isinstance(prompt, bool) or not isinstance(prompt, SupportsIndex) or not 0 <= prompt < len(self.prompts):
            raise InvalidInputError(f"`prompt` must be 0 to {len(self.prompts) - 1}, got {prompt!r}.")

    def has(self, name: str) -> bool:
        """Return whether a method recorded a diagnostic of this name, for instance ``head_weights`` or ``text_maps``."""
        return any(name in values for _, values in self.diagnostics)

    def has_mask(self, prompt: int = 0) -> bool:
        """Return whether the edit has a mask for :meth:`mask`."""
        self.refuse_unknown(prompt)
        return self.has("masks") and not self.recorded("masks")[prompt].isnan().all()

    def recorded(self, name: str) -> Tensor:
        """Return the diagnostic of this name; each method documents what it records, see its ``diagnostics``.

        Raises:
            InvalidInputError: no method recorded it, or it is no name.
        """
        if not isinstance(name, str):
            raise InvalidInputError(f"`name` must be the name of a diagnostic, such as 'head_weights' (got {name!r}).")
        for _, values in self.diagnostics:
            if name in values:
                return values[name]
        raise InvalidInputError(f"this edit has no `{name}`: no method that records it took part.")


def _reconstructed(batch: Batch, place: int, inverted: Sequence[Tensor]) -> Image.Image:
    alone = batch.reconstruction(place)
    return alone.pictures(alone.edit([latents[place : place + 1] for latents in inverted]).latents)[0]


def _png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def _counts_of(path: Path) -> Counts:
    """Return the numbers of edits and reference pictures of the record there, none if there is none."""
    try:
        plain = read_plain(path)
    except InvalidInputError:
        return 0, 0
    images, references = (
        len(found) if isinstance(found := plain.get(key), list) else 0 for key in ("images", "references")
    )
    return images, references


@final
@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Holds a picture edited with its own prompt and without steering.

    Attributes:
        image: Reconstructed picture, in the picture's own size.
        psnr: Peak signal-to-noise ratio to the picture, dB; inf if equal.
        ssim: Structural similarity to the picture, at most 1.
        cost: Cost of inversion and sampling.
    """

    image: Image.Image = field(repr=False)
    psnr: float
    ssim: float
    cost: Cost

    @classmethod
    def compare(cls, image: Image.Image, picture: Image.Image, cost: Cost) -> Self:
        """Measure ``image`` against ``picture``."""
        return cls(image, psnr(image, picture), ssim(image, picture), cost)
