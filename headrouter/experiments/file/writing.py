"""Write a commented experiment file to begin with."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from headrouter.editing.assembly import part_class
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.metric import Metric
from headrouter.plugins import registry
from headrouter.plugins.specifications import ComponentSpec, Model

_TEXT = """\
# An experiment of headrouter: `headrouter experiment plan FILE`, then `run FILE -o DIR`, then `report DIR`.
# An editor that knows YAML completes it by the schema that `headrouter experiment schema` prints.
name: {name}

dataset:
  name: {dataset}{summary}
{parameters}
# Numbers of every edited picture. All that are installed: `headrouter plugins`.
metrics:
{metrics}
# Noise is drawn from these; configurations that draw none run with the first alone.
seeds: [0]

{model}
# Every combination of the options of its axes is a configuration. An option is a name, or a mapping of name and parameters;
# `sweep` in it takes every value of a parameter; `label` names it in tables. Several methods together are a list in the list.
matrix:
  backbone: [{backbones}]
  inversion:
    - euler
    - {{name: rf, sweep: {{stop: [6, 12]}}}}
  method: [none, headrouter]{instructed}
  # guidance: 3                # of all: steps, guidance, size, preset, keep, push, negative_prompt
  # sweep: {{guidance: [3, 5]}}
  # exclude:                   # combinations, by a part of what they are
  #   - {{inversion: euler, method: headrouter}}

# Further configurations, one by one, on each `backbone`.
# backbone: [{first}]
# configurations:
#   - {{name: gentle, inversion: rf, method: {{name: headrouter, gamma: 0.3}}, steps: 20}}
{editors}
# Pictures that bound the results: `source` is the picture as it is, `target` the true result through the autoencoder.
# references: [source{target}]

# The configuration that the others are compared with, edit by edit, on each backbone.
baseline: {baseline}
"""

_INSTRUCTED = """
  # {names} edits by instructions, which these inversions do not take: a matrix of its own, where `inversion` and `method` that are
  # left out are those that suit it"""

_OTHER_WEIGHTS = """\
# model: medium
# Weights are of float32, so that results do not depend on the machine, unless a backbone has `dtype: bfloat16`.
"""


def new_file(dataset: str = "shapes") -> str:
    """Return the text of an experiment file for a data set, with what is installed.

    Raises:
        UnknownNameError: no such data set.
    """
    spec = registry().entry("dataset", dataset).item
    assert isinstance(spec, ComponentSpec)
    models = [item for entry in registry().entries("model") if isinstance(item := entry.item, Model)]
    own = [model for model in models if model.name == spec.name]
    every = dict.fromkeys(model.backbone for model in own)
    instructed = [name for name in every if "instructions" in registry().backbone(name).provides]
    backbones = [name for name in every if name not in instructed] or ["sd3.5"]
    weights = "# Weights of every backbone that has no `model` of its own.\n"
    weights += f"model: {own[0].name}\n" if own else _OTHER_WEIGHTS
    return _TEXT.format(
        name=spec.name,
        dataset=spec.name,
        summary=f"  # {spec.summary}" if spec.summary else "",
        parameters="".join(_parameters(part_class("dataset", spec.name))),
        metrics="".join(_metrics(spec.name)),
        model=weights,
        backbones=", ".join(backbones),
        instructed=_INSTRUCTED.format(names=", ".join(instructed)) if instructed else "",
        first=backbones[0],
        editors="".join(_editors()),
        target=", target" if own else "",
        baseline="rf stop=12",
    )


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        InvalidInputError: it is there, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InvalidInputError(f"'{path}' is there already; nothing was written. Give another `-o`.") from error
    except OSError as error:
        raise InvalidInputError(f"cannot write '{path}': {error.strerror or os.strerror(error.errno or 0)}.") from error


def _parameters(parameters: Any) -> Iterator[str]:
    """Yield a line for each parameter of a part: required ones to be filled in, the others with their defaults, as comments."""
    for name, field in parameters.model_fields.items():
        meaning = f"  # {' '.join(field.description.split())}" if field.description else ""
        if field.is_required():
            yield f"  {name}: FILL-IN{meaning}\n"
        else:
            default = parameters.model_json_schema()["properties"].get(name, {}).get("default")
            shown = yaml.safe_dump(default, default_flow_style=True, width=10_000).splitlines()[0]
            yield f"  # {name}: {shown}{meaning}\n"


def _metrics(dataset: str) -> Iterator[str]:
    """Yield a line for each installed metric, those as comments that need networks or more than any picture has."""
    for entry in registry().entries("metric"):
        spec = entry.item
        assert isinstance(spec, ComponentSpec)
        metric: type[Metric] = spec.load()
        chosen, remark = spec.name.startswith(f"{dataset}-"), spec.summary
        try:
            made = metric()
            made.check()
            chosen = chosen or not (made.needs or made.revision)
            remark += f" Needs {', '.join(sorted(made.needs))}." if made.needs else ""
        except (HeadRouterError, ValueError) as error:
            chosen, remark = False, f"{remark} Missing: {str(error).splitlines()[0]}"
        yield f"  {'' if chosen else '# '}- {spec.name}{f'  # {remark.strip()}' if remark.strip() else ''}\n"


def _editors() -> Iterator[str]:
    entries = registry().entries("editor")
    if entries:
        yield "\n# Other editors, in the same tables.\n# editors:\n"
    for entry in entries:
        assert isinstance(entry.item, ComponentSpec)
        yield f"#   - {entry.item.name}{f'  # {entry.item.summary}' if entry.item.summary else ''}\n"
