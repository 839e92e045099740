"""Read the studies of the benchmark: configurations in a YAML file, as experiments have them.

backbone: [sd3.5, flux]          # one or several; a name, or a mapping of name and parameters
model: shapes
configurations:
  - name: rf
    inversion: {name: rf, stop: 6}
    method: none                 # a name, a mapping of name and parameters, or a list of these
    guidance: 3
    sweep:                       # every combination, named "rf eta=0.5", "rf eta=0.9", ...
      inversion.eta: [0.5, 0.9]
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from headrouter.config.configuration import Override
from headrouter.config.yaml_document import read_yaml
from headrouter.errors import InvalidInputError
from headrouter.experiments import composing
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.file.listed import read_listed, refuse_doubles
from headrouter.experiments.file.sweep import short
from headrouter.models.backbone import Defaults

SHIPPED: Final = Path(__file__).parent / "studies"
"""Studies that come with the package."""
MOST: Final = 1_000
"""Configurations in a study; each is many edits."""
WORLD: Final = Defaults(steps=28, guidance=3.0, area=64 * 64)
"""What suits a model of the drawn world whose registration does not say, for instance a folder."""
_TOP: Final = ("backbone", "model", "configurations")

configure = functools.partial(composing.configure, model="shapes", fallback=WORLD)
"""Composes a configuration with weights of the drawn world, see :func:`headrouter.experiments.composing.configure`."""
read_configuration = functools.partial(composing.read_configuration, fallback=WORLD)
"""Composes one from plain data, see :func:`headrouter.experiments.composing.read_configuration`."""


def read_study(
    path: str | Path, backbones: Sequence[str] = (), model: str | None = None, overrides: Sequence[Override] = ()
) -> list[Configuration]:
    """Read every configuration of a study.

    Args:
        path: A YAML file, or the name of a study that comes with the package, a file of :data:`SHIPPED`.
        backbones: These instead of the file's.
        model: This instead of the file's.
        overrides: Values that replace those of every configuration.

    Raises:
        InvalidInputError: everything that is wrong, at once: file, line, configuration and field.
    """
    shipped = SHIPPED / f"{path}.yaml"
    document = read_yaml(shipped if shipped.is_file() and not Path(path).is_file() else path)
    top = document.data
    if not isinstance(top, Mapping) or not isinstance(top.get("configurations"), list) or not top["configurations"]:
        raise InvalidInputError(
            f"{document.name}: a study must be a mapping with a list of `configurations` (got {short(top)})."
        )
    if unknown := sorted(set(top) - set(_TOP)):
        place = document.locate((unknown[0],), at_key=True)
        raise InvalidInputError(f"{place}: `{unknown[0]}`: unknown name. Known: {', '.join(_TOP)}.")
    declared = top.get("backbone", "sd3.5")
    chosen = list(backbones) or (declared if isinstance(declared, list) else [declared])
    weights = model or top.get("model", "shapes")
    made = read_listed(document, chosen, weights, overrides, most=MOST, fallback=WORLD)
    refuse_doubles(made)
    return made
