"""Run pipelines of diffusers as editors: load them from their folders, and keep the size of pictures."""

import abc
import functools
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import headrouter_diffusers.quiet  # noqa: F401
import torch
from headrouter_diffusers.components.index import INDEX, read_json
from headrouter_diffusers.quiet import while_loading
from PIL import Image
from pydantic import Field

from headrouter.errors import HeadRouterError, IncompatibleError, InvalidInputError, WeightsError, reason_of
from headrouter.experiments.other_editor import Edit, EditRequest, OtherEditor
from headrouter.imaging.picture import working_size
from headrouter.models.checksums import refuse_changed
from headrouter.models.fingerprint import folder_fingerprint
from headrouter.models.surroundings import undisturbed
from headrouter.models.weights import find_weights

Text = Literal["instruction", "prompt", "either"]


class PipelineEditor(OtherEditor, abc.ABC):
    """Holds the parameters of an editor that is a pipeline of diffusers.

    Attributes:
        model: Folder or hub id of the pipeline.
        dtype: Precision of its weights.
        area: Pixels to work at, in the aspect of the picture; the edit is brought back to the picture's size.
    """

    model: str = Field(min_length=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    area: int = Field(512 * 512, ge=64 * 64, le=8192**2)

    pipeline: ClassVar[str]
    """Name of the pipeline's class in diffusers."""
    of_folders: ClassVar[tuple[str, ...]] = ()
    """Further classes whose folders it can be loaded from."""
    multiple: ClassVar[int] = 8
    """Of the sides to work at, in pixels."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages that the pipeline imports beside those of headrouter."""

    @property
    def revision(self) -> str:
        """Return the fingerprint of the pipeline's folder, or the hub id where it is not here."""
        folder = self._folder()
        return self.model if folder is None else _fingerprint(folder)

    def check(self) -> None:
        """Look for the weights, and see that they are of this pipeline; loads nothing.

        Raises:
            WeightsError: they are not here, or not whole.
            InvalidInputError: a package is not installed.
            IncompatibleError: they are of another pipeline.
        """
        if missing := [name for name in self.packages if find_spec(name) is None]:
            raise InvalidInputError(f"{self.pipeline} needs {missing[0]}. Run `pip install {missing[0]}`.")
        state = find_weights(self.model)
        folder = self._folder()
        if folder is None:
            raise WeightsError(f"`model` {self.model!r} is {state.state}: {state.remark}.")
        found = str(read_json(folder / INDEX).get("_class_name"))
        if found not in (self.pipeline, *self.of_folders):
            accepted = " or ".join((self.pipeline, *self.of_folders))
            raise IncompatibleError(f"`model` {self.model!r} holds a {found}, and this editor runs a {accepted}.")

    @undisturbed()
    def load(self, device: torch.device) -> Edit:
        """Load the pipeline, and return the function that edits.

        Raises:
            HeadRouterError: the errors of :meth:`check`, and weights that cannot be loaded.
        """
        self.check()
        folder = self._folder()
        assert folder is not None
        refuse_changed(self.model, folder)
        try:
            with while_loading():
                pipeline = self._class().from_pretrained(
                    folder, dtype=getattr(torch, self.dtype), use_safetensors=True, local_files_only=True
                )
        except Exception as error:  # a configuration holds anything, and so do the errors that follow from it
            raise WeightsError(
                f"`model` {self.model!r} could not be loaded: {reason_of(error)}. Fetch it again."
            ) from error
        pipeline.set_progress_bar_config(disable=True)
        pipeline.to(device)
        return functools.partial(self._edit, pipeline)

    @abc.abstractmethod
    def run(self, pipeline: Any, picture: Image.Image, asked: EditRequest, noise: torch.Generator) -> Any:
        """Run the pipeline on a picture of the size to work at, and return its output."""

    @undisturbed()
    @torch.no_grad()
    def _edit(self, pipeline: Any, asked: EditRequest) -> Image.Image:
        size = working_size(asked.picture.size, self.area, self.multiple)
        picture = asked.picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        output = self.run(pipeline, picture, asked, torch.Generator("cpu").manual_seed(asked.seed))
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise SafetyError("the pipeline's safety checker withheld the picture.")
        edit: Image.Image = output.images[0]
        return edit if edit.size == asked.picture.size else edit.resize(asked.picture.size, Image.Resampling.LANCZOS)

    def _folder(self) -> Path | None:
        state = find_weights(self.model)
        return Path(state.remark.partition(" (variant ")[0]) if state.usable else None

    def _class(self) -> Any:
        import diffusers

        return getattr(diffusers, self.pipeline)


class SafetyError(HeadRouterError):
    """Reports a picture that a pipeline's safety checker withheld."""


class InstructedEditor(PipelineEditor, abc.ABC):
    """Holds the parameters of a pipeline that edits by one text.

    Attributes:
        text: The text of an item that it is given; ``either`` is the instruction where an item has one, and else the prompt.
    """

    text: Text = "instruction"

    @property
    def needs(self) -> frozenset[str]:
        """Return the text that it edits by."""
        return frozenset({"prompt"} if self.text == "either" else {self.text})

    def asked(self, request: EditRequest) -> str:
        """Return the text of a request that the pipeline is given.

        Raises:
            InvalidInputError: the request has none.
        """
        texts = {"instruction": request.instruction, "prompt": request.prompt}
        text = request.instruction or request.prompt if self.text == "either" else texts[self.text]
        if not text:
            raise InvalidInputError(f"this editor works by the `{self.text}`, and the edit has none.")
        return text


@functools.lru_cache(maxsize=16)
def _fingerprint(folder: Path) -> str:
    return folder_fingerprint(folder)
