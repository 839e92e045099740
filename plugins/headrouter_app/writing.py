"""Write an edit of the page as a command, as Python and as an experiment's YAML that do the same."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from headrouter.config.configuration import Parameters
from headrouter.editing.assembly import backbone_parameters_of, name_of
from headrouter.editing.record import SOURCE, reference_file
from headrouter.errors import InvalidInputError
from headrouter.experiments.composing import configure
from headrouter.experiments.file.entries import entry_of
from headrouter.masks.mask import Mask
from headrouter.masks.part import expression_of
from headrouter.masks.picture import PictureMask
from headrouter.plugins.specifications import Kind
from headrouter_app.running import Studio
from headrouter_app.settings import Settings

MASK: Final = "mask-0.png"
"""File of a drawn mask in the folder that a result is saved in."""
_UNRECORDED: Final = {"device", "offload", "max_rows"}
"""Options of loading that an experiment leaves to the machine."""


def command(studio: Studio, settings: Settings) -> str:
    """Return the command of an edit."""
    words = ["headrouter", "edit", SOURCE]
    words += ["--source", settings.source_prompt] if settings.source_prompt else []
    words += [word for prompt in settings.prompts for word in ("--prompt", prompt)]
    words += ["--negative", settings.negative_prompt] if settings.negative_prompt else []
    words += ["--backbone", studio.backbone, *(["--model", studio.model] if studio.model else [])]
    sets: list[str] = []
    for kind, option, parts in _parts(settings):
        for place, part in enumerate(parts):
            words += [option, name_of(kind, part)]
            path = kind if len(parts) == 1 else f"{kind}.{place}"
            sets += [f"{path}.{name}={json.dumps(value, ensure_ascii=False)}" for name, value in _values(part).items()]
    words += [] if settings.methods else ["--method", "none"]
    words += [word for one in sets for word in ("--set", one)]
    for name, value in [*settings.knobs.items(), *(("seed", seed) for seed in settings.seeds)]:
        words += _option(name, value)
    words += [word for name in _references(settings) for word in ("--reference", name)]
    words += [] if settings.mask is None else ["--mask", mask_text(settings.mask)]
    for name, value in studio.loading.items():
        words += _option(name, value)
    return shlex.join([*words, "-o", "out"])


def python(studio: Studio, settings: Settings) -> str:
    """Return the Python of an edit."""
    imports, made = {"from headrouter import Editor"}, dict[str, list[str]]()
    for kind, _, parts in _parts(settings):
        made[kind] = [_object(kind, part, imports) for part in parts]
    chosen: dict[str, str] = {"backbone": repr(studio.backbone), "inversion": made["inversion"][0]}
    chosen["method"] = f"[{', '.join(made['method'])}]" if made["method"] else "None"
    if made["operator"]:
        chosen["operators"] = f"[{', '.join(made['operator'])}]"
    chosen |= {"model": repr(studio.model)} if studio.model else {}
    chosen |= {name: repr(value) for name, value in studio.loading.items()}
    files = {"mask": None if settings.mask is None else mask_text(settings.mask), "references": _references(settings)}
    given = {name: repr(value) for name, value in {**settings.request, **files}.items() if value not in (None, "", [])}
    lines = [*sorted(imports), "", f"editor = Editor({_arguments(chosen)})"]
    lines += [f"result = editor.edit({_arguments({'': repr(SOURCE), **given})})", 'result.save("out")']
    return "\n".join(lines) + "\n"


def experiment(studio: Studio, settings: Settings) -> str:
    """Return the YAML of an experiment with this way of editing alone, as an experiment's page writes it.

    Its data set is a folder of pictures, with the table that the head of the file has.

    Raises:
        HeadRouterError: an experiment cannot have this edit.
    """
    if settings.references:
        raise InvalidInputError("an experiment gives the model no reference picture but the edited one.")
    knobs = {**settings.knobs, "seed": 0, "negative_prompt": settings.negative_prompt}
    loading = {name: value for name, value in studio.loading.items() if name not in _UNRECORDED}
    one = configure(
        "edit",
        backbone_parameters_of(studio.backbone, loading),
        settings.inversion,
        settings.methods,
        operator=settings.operators,
        mask=settings.mask or "none",
        model=studio.model or "",
        fallback=studio.editor.backbone.defaults,
        **knobs,
    )
    rows = [{"image": SOURCE, "prompt": prompt, **_beside(settings, prompt)} for prompt in settings.prompts]
    head = "".join(f"#   {json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    whole = {
        "name": "edit",
        "dataset": {"name": "pictures", "folder": "."},
        "seeds": [*settings.seeds],
        **entry_of(one),
    }
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=120)
    return (
        f"# Put this into edits.jsonl, beside {SOURCE}, then: headrouter experiment run edit.yaml -o run\n{head}{text}"
    )


def mask_text(mask: Mask) -> str:
    """Return a mask as an expression, or the file of a mask that was drawn."""
    return MASK if isinstance(mask, PictureMask) else expression_of(mask)


def _beside(settings: Settings, prompt: str) -> dict[str, str]:
    """Return what a data set has beside a prompt: the same as an instruction, or the prompt of the picture."""
    return {"instruction": prompt} if settings.inversion.takes_references else {"source_prompt": settings.source_prompt}


def _references(settings: Settings) -> list[str]:
    """Return the files of the further reference pictures in the folder that a result is saved in."""
    return [reference_file(number) for number, _ in enumerate(settings.references, 1)]


def _parts(settings: Settings) -> list[tuple[Kind, str, Sequence[Parameters]]]:
    return [
        ("inversion", "--inversion", (settings.inversion,)),
        ("operator", "--operator", settings.operators),
        ("method", "--method", settings.methods),
    ]


def _values(part: Parameters) -> dict[str, Any]:
    return part.model_dump(mode="json", exclude_unset=True)


def _object(kind: Kind, part: Parameters, imports: set[str]) -> str:
    """Return the Python of a part: its name, or an object of its class where it has parameters."""
    values = _values(part)
    if not values:
        return repr(name_of(kind, part))
    imports.add(f"from {type(part).__module__} import {type(part).__name__}")
    return f"{type(part).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"


def _arguments(given: Mapping[str, str]) -> str:
    lines = [f"    {name}={value},\n" if name else f"    {value},\n" for name, value in given.items()]
    return f"\n{''.join(lines)}"


def _option(name: str, value: Any) -> list[str]:
    """Return the words of an option of the command line, as :mod:`headrouter.cli.options` reads it.

    >>> _option("paste", True), _option("size", (64, 48)), _option("max_rows", 4)
    (['--paste'], ['--size', '64x48'], ['--max-rows', '4'])
    >>> _option("quantize", {"transformer": "nf4", "text_encoder": "int8"})
    ['--quantize', 'transformer=nf4', '--quantize', 'text_encoder=int8']
    """
    option = f"--{name.replace('_', '-')}"
    if value is True:
        return [option]
    if isinstance(value, Mapping):
        return [word for pair in value.items() for word in (option, "=".join(pair))]
    return [option, "x".join(map(str, value)) if isinstance(value, tuple) else str(value)]
