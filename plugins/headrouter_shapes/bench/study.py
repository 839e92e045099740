"""Read the studies of the drawn world, which are experiment files, and make experiments of configurations."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from headrouter.config.configuration import Override, validate
from headrouter.config.yaml_document import read_yaml
from headrouter.editing.assembly import inversion_of
from headrouter.errors import InvalidInputError
from headrouter.experiments import composing
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.dataset import Item
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.file.listed import read_listed
from headrouter.experiments.file.references import references_of
from headrouter.experiments.file.sweep import short
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.running.runner import run as run_experiment
from headrouter.models.backbone import Defaults
from headrouter_shapes.bench.dataset import Shapes, ShapesMetric
from headrouter_shapes.bench.sets import SIZES, Set, chosen_cases

SHIPPED: Final = Path(__file__).parent / "studies"
"""Studies that come with the package."""
MOST: Final = 1_000
"""Configurations in a study; each is many edits."""
WORLD: Final = Defaults(steps=28, guidance=3.0, area=64 * 64)
"""What suits a model of the drawn world whose registration does not say, for instance a folder."""
_TOP: Final = ("backbone", "model", "configurations")
_OF_EXPERIMENTS: Final = ("name", "dataset", "metrics", "seeds", "references", "baseline")
"""What `headrouter experiment` reads beside it, and `headrouter bench shapes` has options for."""

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
    if unknown := sorted(set(top) - {*_TOP, *_OF_EXPERIMENTS}):
        place = document.locate((unknown[0],), at_key=True)
        hint = " Matrices are for `headrouter experiment run`." if unknown[0] in ("matrix", "editors") else ""
        raise InvalidInputError(f"{place}: `{unknown[0]}`: unknown name. Known: {', '.join(_TOP)}.{hint}")
    declared = top.get("backbone", "sd3.5")
    chosen = list(backbones) or (declared if isinstance(declared, list) else [declared])
    weights = model or top.get("model", "shapes")
    return read_listed(document, chosen, weights, overrides, most=MOST, fallback=WORLD)


def experiment(
    configurations: Sequence[Configuration],
    *,
    set: Set = "tune",  # noqa: A002
    count: int = SIZES["quick"],
    kinds: Sequence[str] = (),
    with_references: bool = True,
    baseline: str = "",
) -> Experiment:
    """Make an experiment of configurations on the drawn world.

    Args:
        configurations: From :func:`configure` or :func:`read_study`; those of one seed.
        set, count, kinds: Of the edits, see :class:`~headrouter_shapes.bench.dataset.Shapes`.
        with_references: Also measure :func:`references`.
        baseline: Configuration that the others are compared with.

    Raises:
        InvalidInputError: edits that do not exist, names that are there twice, or seeds that differ.
    """
    seeds = sorted({one.seed for one in configurations})
    if len(seeds) > 1:
        raise InvalidInputError(f"`seed` must be the same in all configurations (got {seeds}); run each by itself.")
    dataset = validate(Shapes, {"set": set, "count": count, "kinds": list(kinds)})
    bounds = references(configurations) if with_references else ()
    every = [replace(one, seed=0) for one in (*bounds, *configurations)]  # seeds are those of the experiment
    models = list(dict.fromkeys(one.loading for one in every))
    every.sort(key=lambda one: models.index(one.loading))
    return Experiment(f"shapes, {set}", dataset, {"shapes-1": ShapesMetric()}, tuple(every), tuple(seeds), baseline)


def references(configurations: Sequence[Configuration]) -> list[Configuration]:
    """Return the bounds of the results of each backbone, from the lowest to the highest.

    ``source``: the picture unedited. ``generation``: the target caption, sampled without steering from the noise that
    Euler's inversion finds with the source's caption, at each guidance and number of steps that a configuration has;
    left out where one of the configurations is just that.
    Where the picture itself is given to the model, nothing is inverted, and there is no such row.
    ``target``: the true target through the autoencoder, which no edit can surpass by much.
    """
    found: list[Configuration] = []
    for loading in dict.fromkeys(one.loading for one in configurations):
        members = [one for one in configurations if one.loading == loading]
        source, target = references_of(members, ("source", "target"))
        found.append(source)
        captioned = [one for one in members if not one.inversion.takes_references]
        for steps, guidance in sorted({(one.steps, one.guidance) for one in captioned}):
            name = f"reference generation guidance={guidance:g} steps={steps}"
            inversion = inversion_of("euler").model_copy(update={"steps": steps})
            plain = replace(captioned[0], name=name, methods=(), inversion=inversion, steps=steps, guidance=guidance)
            if plain.hash not in {one.hash for one in members}:
                found.append(plain)
        found.append(target)
    return found


def run(
    configurations: Sequence[Configuration],
    out: str | Path,
    *,
    set: Set = "tune",  # noqa: A002
    count: int = SIZES["quick"],
    kinds: Sequence[str] = (),
    with_references: bool = True,
    **options: Any,
) -> list[CellRecord]:
    """Measure configurations; deprecated: :func:`headrouter.experiments.run` takes the :func:`experiment` of them."""
    warnings.warn("`run` of the benchmark is `headrouter.experiments.run` now.", DeprecationWarning, 2)
    asked = experiment(configurations, set=set, count=SIZES["full"], with_references=with_references)
    return run_experiment(asked, Path(out) / set, items=part_of(asked, count, kinds), **options)


def part_of(asked: Experiment, count: int, kinds: Sequence[str] = ()) -> list[Item]:
    """Return of the first ``count`` edits of an experiment on the drawn world those of some kinds.

    A part of a larger data set, so that a run folder can be continued with more.
    """
    assert isinstance(asked.dataset, Shapes)
    keys = {case.key for case in chosen_cases(asked.dataset.set, count, kinds)}
    return [item for item in asked.items if item.key in keys]
