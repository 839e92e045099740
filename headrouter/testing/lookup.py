"""Find the parts under test by a name, and their checks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from headrouter.config.configuration import validate
from headrouter.editing.assembly import backbone_parameters_of, model_of
from headrouter.errors import InvalidInputError, UnknownNameError
from headrouter.plugins import registry
from headrouter.plugins.names import Entry, fold
from headrouter.plugins.specifications import KINDS, BackboneSpec, Kind
from headrouter.plugins.targets import call_target
from headrouter.testing import checks
from headrouter.testing.check import Check
from headrouter.testing.subjects import (
    BackboneSubject,
    InversionSubject,
    MaskSubject,
    MethodSubject,
    OperatorSubject,
    PluginSubject,
)

Checked = tuple[Any, tuple[Check[Any], ...]]


def subjects_of(name: str, model: str | None = None) -> list[Checked]:
    """Return the parts of that name: small models of a backbone, an inversion, an operator, a method, plug-ins.

    Args:
        name: Of a part, a plug-in or a distribution.
        model: Weights of a backbone, as for ``headrouter edit``; its own small models if None. They are loaded once.

    Raises:
        UnknownNameError: nothing has that name.
        InvalidInputError: a backbone has no small models, and no model is given; or a model, and it is no backbone.
    """
    found = [*_backbones(name, model), *_parts(name), *_plugins(name)]
    if not found:
        known = sorted({entry.item.name for entry in registry().entries() if entry.item.kind in KINDS})
        raise UnknownNameError(
            f"nothing is called {name!r}. Known: {', '.join(known)}, and plug-ins: `headrouter plugins`."
        )
    if model is not None and _entry("backbone", name) is None:
        raise InvalidInputError(f"`--model` gives weights to a backbone, and {name!r} is none; leave it out.")
    return found


def _entry(kind: Kind, name: str) -> Entry | None:
    try:
        return registry().entry(kind, name)
    except UnknownNameError:
        return None


def _backbones(name: str, model: str | None) -> Iterator[Checked]:
    entry = _entry("backbone", name)
    if entry is None:
        return
    spec = entry.item
    assert isinstance(spec, BackboneSpec)
    small: list[BackboneSubject] = call_target(spec.testing, f"backbone {name!r}") if spec.testing else []
    if model is not None:
        source, defaults = model_of(name, model)
        loaded = backbone_parameters_of(name, {}).load(source, None, defaults)
        like = small[0] if small else BackboneSubject(loaded.name, lambda: loaded)
        small = [replace(like, name=loaded.name, build=lambda: loaded, known_failures={})]
    if not small:
        raise InvalidInputError(f"backbone {name!r} brings no small models for tests; give weights by `--model`.")
    yield from ((subject, checks.backbone.CHECKS) for subject in small)


def _parts(name: str) -> Iterator[Checked]:
    inversion, operator, method, mask = (_entry(kind, name) for kind in KINDS[1:])
    if operator is not None:
        made: Any = operator.item
        acts = "acts" in made.provides
        yield OperatorSubject(made.name, validate(made.load(), {}), acts), checks.operator.CHECKS
    if inversion is not None:
        spec: Any = inversion.item
        yield InversionSubject(spec.name, validate(spec.load(), {}), frozenset(spec.provides)), checks.inversion.CHECKS
    if method is not None:
        spec = method.item
        yield MethodSubject(spec.name, validate(spec.load(), {}), acts="acts" in spec.provides), checks.method.CHECKS
    if mask is not None:
        spec = mask.item
        try:
            made = validate(spec.load(), {}, prefix="mask.")
        except InvalidInputError as error:
            raise InvalidInputError(
                f"the mask {spec.name!r} has no use without parameters: {error} Check it with some in a test file, by "
                "`MaskConformance`."
            ) from error
        yield MaskSubject(spec.name, made), checks.mask.CHECKS


def _plugins(name: str) -> Iterator[Checked]:
    for row in registry().statuses:
        if fold(name) in (fold(row.name), fold(row.distribution)):
            yield PluginSubject(row.name), checks.plugin.CHECKS
