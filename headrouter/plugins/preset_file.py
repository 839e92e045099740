"""Read and write presets as YAML files, one preset a file, with values for several parts.

.. code-block:: yaml

    name: mine
    reference_steps: 28
    provenance: tried on my own pictures
    values:
      inversion: {flowedit: {last_steps: 0.6}}
      method: {headrouter: {gamma: 0.1}}
"""

import os
from pathlib import Path
from typing import Any, Final

import yaml

from headrouter.config.configuration import Parameters, validate
from headrouter.config.yaml_document import read_yaml
from headrouter.errors import InvalidInputError
from headrouter.files import write_whole
from headrouter.plugins.specifications import Kind, Preset

_SUFFIXES: Final = (".yaml", ".yml")
_WIDTH: Final = 120


class PresetFile(Parameters):
    """Describes the file of a preset.

    Attributes:
        name: Of the preset.
        reference_steps: Number of steps of the run in which the values were found; numbers of steps are scaled from it.
        provenance: Where the values come from.
        summary: For whom they are.
        values: By kind of part and its name, parameters and their values.
    """

    name: str
    reference_steps: int
    provenance: str
    summary: str = ""
    values: dict[Kind, dict[str, dict[str, Any]]]

    def presets(self) -> list[Preset]:
        """Return the presets, one for each part that there are values for.

        Raises:
            InvalidInputError: values that no preset can have.
        """
        return [
            Preset(self.name, (kind, part), self.reference_steps, values, self.provenance, self.summary)
            for kind, parts in self.values.items()
            for part, values in parts.items()
        ]


def is_preset_file(preset: str) -> bool:
    """Return whether a preset is given as a file: by a path, or a name that ends in ``.yaml`` or ``.yml``.

    >>> is_preset_file("tuned/mine.yaml"), is_preset_file("stylization")
    (True, False)
    """
    return preset.endswith(_SUFFIXES) or os.sep in preset or "/" in preset


def read_presets(path: str | os.PathLike[str]) -> list[Preset]:
    """Return the presets of a file, one for each part that it has values for; a plug-in may register them.

    Raises:
        InvalidInputError: it is not there, or not the file of a preset; says line and field.
    """
    document = read_yaml(Path(path))
    found = validate(PresetFile, document)
    try:
        every = found.presets()
    except InvalidInputError as error:
        raise InvalidInputError(f"{document.name}: {error}") from error
    if not every:
        raise InvalidInputError(f"{document.locate(('values',))}: `values` of preset {found.name!r} are empty.")
    return every


def write_preset(path: Path, preset: PresetFile, remark: str = "") -> Path:
    """Write a preset, below a remark in comments, so that :func:`read_presets` reads it.

    Raises:
        InvalidInputError: it has values that no preset can have, or the file cannot be written.
    """
    preset.presets()  # refuses what could not be read again
    comment = "".join(f"# {line}\n" if line else "#\n" for line in remark.splitlines())
    text = yaml.safe_dump(preset.model_dump(exclude_defaults=True), sort_keys=False, allow_unicode=True, width=_WIDTH)
    return write_whole(path, (comment + text).encode())
