"""Build parts from names, as in ``Editor(backbone="sd3.5", inversion="rf")``, and find the names of parts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from headrouter.config.configuration import Parameters, validate
from headrouter.errors import IncompatibleError, InvalidInputError, UnknownNameError
from headrouter.files import path_of
from headrouter.masks.mask import Mask
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone, BackboneParameters, Defaults
from headrouter.models.known_models import defaults_of, known_defaults
from headrouter.plugins import registry
from headrouter.plugins.specifications import BackboneSpec, ComponentSpec, Kind
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import NoOperator, VelocityOperator

Part = TypeVar("Part", bound=Parameters)
Methods = str | Method | Sequence[str | Method] | None
AUTO: Final = "auto"
"""Stands for the method that suits the inversion, :attr:`~headrouter.sampling.inversion.Inversion.default_method`."""
Operators = str | VelocityOperator | Sequence[str | VelocityOperator] | None
Steering = Inversion | VelocityOperator | Method
"""Parts that an edit is composed of beside the backbone."""


def inversion_of(choice: str | Inversion, values: Mapping[str, Any] | None = None) -> Inversion:
    """Return an inversion by name, with parameters, or the object that was given."""
    return _part("inversion", Inversion, choice, values)  # type: ignore[type-abstract]


def methods_of(choice: Methods, values: Mapping[str, Any] | None = None) -> tuple[Method, ...]:
    """Return methods by name or object, one or several; None is none. ``values`` are parameters of a single named one."""
    return _parts("method", Method, choice, values)  # type: ignore[type-abstract]


def steering_of(choice: Methods, inversion: Inversion) -> tuple[Method, ...]:
    """Return methods as :func:`methods_of`, and those that suit the inversion where the choice is ``auto``."""
    return methods_of(inversion.default_method if isinstance(choice, str) and choice == AUTO else choice)


def operators_of(choice: Operators, values: Mapping[str, Any] | None = None) -> tuple[VelocityOperator, ...]:
    """Return velocity operators by name or object, as :func:`methods_of`; those that stand for none are left out."""
    found = _parts("operator", VelocityOperator, choice, values)  # type: ignore[type-abstract]
    return tuple(one for one in found if not isinstance(one, NoOperator))


def _parts(kind: Kind, base: type[Part], choice: Any, values: Mapping[str, Any] | None) -> tuple[Part, ...]:
    if choice is None:
        return ()
    if not isinstance(choice, str | base | Sequence):
        raise InvalidInputError(f"`{kind}` must be a name, a {base.__name__} object or a list of them, got {choice!r}.")
    chosen = [choice] if isinstance(choice, str | base) else list(choice)
    if values and len(chosen) != 1:
        raise InvalidInputError(
            f"`{kind}` parameters can only be set for a single {kind}; give objects instead of names."
        )
    return tuple(_part(kind, base, one, values) for one in chosen)


def _part(kind: Kind, base: type[Part], choice: str | Part, values: Mapping[str, Any] | None) -> Part:
    if isinstance(choice, base):
        return changed(choice, values or {})
    if not isinstance(choice, str):
        article = "an" if kind[0] in "aeiou" else "a"
        raise InvalidInputError(f"`{kind}` must be a name or {article} {base.__name__} object, got {choice!r}.")
    part: type[Part] = part_class(kind, choice)
    return validate(part, values or {})


def changed(part: Part, values: Mapping[str, Any]) -> Part:
    """Return a part with some parameters changed and validated again."""
    if not values:
        return part
    return validate(type(part), {**part.model_dump(exclude_unset=True), **values})


def kind_of(part: Steering | Mask) -> Kind:
    """Return the kind of a part."""
    if isinstance(part, Mask):
        return "mask"
    return (
        "inversion" if isinstance(part, Inversion) else "operator" if isinstance(part, VelocityOperator) else "method"
    )


def default_inversion(backbone: str | Backbone | BackboneParameters) -> str:
    """Return the name of the inversion where the user names none: ``instruct`` for a model of instructions, else ``rf``."""
    if isinstance(backbone, Backbone):
        provided = backbone.provides
    elif isinstance(backbone, str | BackboneParameters):
        name = backbone if isinstance(backbone, str) else name_of("backbone", backbone)
        provided = frozenset(registry().backbone(name).provides)
    else:
        return "rf"  # which `backbone_of` refuses
    return "instruct" if "instructions" in provided else "rf"


def refuse_misfits(provided: frozenset[str], backbone: str, parts: Sequence[Steering | Mask]) -> None:
    """Refuse parts that require what the backbone does not provide, and inversions of captions on a model of instructions.

    Raises:
        IncompatibleError: naming both and the missing word.
    """
    for part in parts:
        if isinstance(part, Inversion) and not part.takes_references and "instructions" in provided:
            raise IncompatibleError(
                f"`inversion` {name_of('inversion', part)!r} takes prompts that describe pictures, and `backbone` {backbone!r} is "
                "made for instructions and the picture itself. Leave `inversion` out, or choose 'instruct'."
            )
        captions = [one for one in parts if isinstance(one, Inversion) and not one.takes_references]
        missing = sorted(part.requires - provided)
        if isinstance(part, Method) and "reference-pictures" in part.requires and captions and not missing:
            raise IncompatibleError(
                f"`method` {name_of('method', part)!r} acts on reference pictures, and `inversion` "
                f"{name_of('inversion', captions[0])!r} gives the model none. Choose 'instruct'."
            )
        if missing:
            kind = kind_of(part)
            raise IncompatibleError(
                f"`{kind}` {name_of(kind, part)!r} with these parameters needs {', '.join(missing)}, which `backbone` "
                f"{backbone!r} does not provide (it provides {', '.join(sorted(provided))})."
            )


def backbone_of(
    choice: str | Backbone | BackboneParameters,
    parts: Sequence[Steering],
    *,
    model: str | None,
    pipeline: object | None,
    values: Mapping[str, Any],
) -> tuple[Backbone, dict[str, Any]]:
    """Load a backbone, after refusing methods that cannot work with it, and the record of its loading."""
    if isinstance(choice, Backbone):
        if values or model or pipeline:
            idle = [*(["model"] if model else []), *(["pipeline"] if pipeline else []), *values]
            raise InvalidInputError(
                f"`backbone` is already loaded, so that {', '.join(f'`{name}`' for name in idle)} would have no effect. Leave"
                " it out, or give the backbone by name."
            )
        refuse_misfits(choice.provides, choice.name, parts)
        return choice, {"name": None, "model": None, "class": type(choice).__name__}
    if not isinstance(choice, str | BackboneParameters):
        raise InvalidInputError(f"`backbone` must be a name, its parameters or a loaded backbone, got {choice!r}.")
    parameters = (
        changed(choice, values) if isinstance(choice, BackboneParameters) else backbone_parameters_of(choice, values)
    )
    name = name_of("backbone", parameters)
    spec = registry().backbone(name)
    refuse_misfits(frozenset(spec.provides), name, parts)
    if pipeline is None:
        source, defaults = model_of(name, model)
    else:
        origin = getattr(pipeline, "name_or_path", None)
        source = type(pipeline).__name__
        defaults = known_defaults(name, origin) if isinstance(origin, str) else None
    loading, base = parameters, getattr(parameters, "base", None)
    if isinstance(base, str):  # a short name too; the record keeps what the user gave
        place, of_base = model_of(name, base)
        loading, defaults = changed(parameters, {"base": place}), defaults or of_base
    backbone = loading.load(source, pipeline, defaults)
    refuse_misfits(backbone.provides, name, parts)
    record = {"name": name, "model": model, "pipeline": pipeline is not None, **parameters.model_dump(mode="json")}
    return backbone, record


def backbone_parameters_of(name: str, values: Mapping[str, Any]) -> BackboneParameters:
    """Return the parameters by which a named backbone is loaded."""
    parameters: BackboneParameters = validate(part_class("backbone", name), values)
    return parameters


def model_of(backbone: str, model: str | None) -> tuple[str, Defaults | None]:
    """Return the place of a model's weights, and its defaults, by short name, hub id or path."""
    entry = registry().entry("backbone", backbone)
    assert isinstance(entry.item, BackboneSpec)
    name = model or entry.item.default_model
    if model and ("/" in model or "\\" in model or _is_path(path_of(model, "model"))):
        return model, known_defaults(entry.qualified_name, model)
    try:
        found = registry().model(entry.qualified_name, name)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"`model`: {error} Give one of these, a hub id, or the path of a folder or file."
        ) from error
    return found.locate(), defaults_of(found)


def _is_path(path: Path) -> bool:
    return path.is_dir() or (path.suffix != "" and path.is_file())


def name_of(kind: Kind, part: object) -> str:
    """Return the registered name of a part's class, or the class's own name if it is registered under none."""
    return registered_under(kind, class_of(part)) or type(part).__name__


def names_of(kind: Kind, parts: Sequence[object]) -> list[str]:
    """Return the name of each part, see :func:`name_of`."""
    return [name_of(kind, part) for part in parts]


def registered_under(kind: Kind, target: str) -> str | None:
    """Return the name that a class, as ``module:Class``, is registered under, if it is."""
    for entry in registry().entries(kind):
        if isinstance(entry.item, ComponentSpec) and entry.item.target == target:
            return entry.shortest_name
    return None


def class_of(part: object) -> str:
    """Return the class of a part as ``module:Class``, which no two classes share."""
    return f"{type(part).__module__}:{type(part).__qualname__}"


def part_class(kind: Kind, name: str) -> Any:
    """Return the class that a name stands for."""
    spec = registry().entry(kind, name).item
    assert isinstance(spec, ComponentSpec)
    return spec.load()
