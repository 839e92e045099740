"""Check a plug-in: light to import, well described, with targets that can be found."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

from headrouter.config.configuration import Parameters, validate
from headrouter.errors import PluginError
from headrouter.plugins.names import Entry
from headrouter.plugins.schema import component_schema
from headrouter.plugins.specifications import KINDS, BackboneSpec, ComponentSpec, Model, Preset
from headrouter.plugins.targets import call_target, import_target
from headrouter.testing.check import check, collect, expect, fail
from headrouter.testing.subjects import BackboneSubject, PluginSubject

HEAVY: Final = ("torch", "diffusers", "transformers", "numpy", "PIL", "matplotlib")


def _entries(subject: PluginSubject) -> list[Entry]:
    row = subject.status
    return [
        entry
        for entry in subject.known.entries()
        if row and entry.distribution == row.distribution and entry.plugin == row.name
    ]


def _components(subject: PluginSubject) -> Iterator[tuple[Entry, ComponentSpec]]:
    return ((entry, entry.item) for entry in _entries(subject) if isinstance(entry.item, ComponentSpec))


@check(since="0.1")
def it_is_loaded(subject: PluginSubject) -> None:
    """It is installed, loads without error, and brings something.

    If this fails: `pip install -e .` after every change of entry points; `headrouter plugins` shows the reason of a broken one.
    """
    row = subject.status
    if row is None:
        known = ", ".join(sorted(each.name for each in subject.known.statuses))
        fail(f"no plug-in of that name is installed; there are {known}")
    expect(row.status == "ok", f"it is {row.status}: {row.message}")
    expect(bool(row.registers), "it registers nothing")
    expect(not row.message, row.message)


@check(since="0.1")
def it_is_light(subject: PluginSubject) -> None:
    """Importing its module loads nothing heavy, so that `headrouter --help` stays fast.

    If this fails: name classes as text, `module:Class`, and import torch and diffusers only in the modules that are named.
    """
    row = subject.status
    if row is None or row.distribution == "runtime":
        return
    code = f"import sys, {row.module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_environment())
    expect(done.returncode == 0, f"importing {row.module} fails: {done.stderr.strip().splitlines()[-1:]}")
    expect(not done.stdout.strip(), f"importing {row.module} loads {', '.join(done.stdout.split())}")


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@check(since="0.1")
def classes_are_what_they_should_be(subject: PluginSubject) -> None:
    """Each target is a class of parameters of its kind, and each component has a summary.

    If this fails: the target of a backbone is its `BackboneParameters`, not the backbone; see docs/plugins/interfaces.md.
    """
    for _, spec in _components(subject):
        try:
            spec.load()
        except PluginError as error:
            fail(str(error))
        expect(bool(spec.summary), f"{spec.kind} {spec.name!r} has no summary")


def _parameters(subject: PluginSubject) -> Iterator[tuple[Entry, ComponentSpec, type[Parameters]]]:
    for entry, spec in _components(subject):
        loaded = spec.load()
        if isinstance(loaded, type) and issubclass(loaded, Parameters):
            yield entry, spec, loaded


def _has_defaults(spec: ComponentSpec, loaded: type[Parameters]) -> bool:
    """Return whether parameters need not be given; a mask or a part of an experiment may have some that must."""
    return spec.kind in {*KINDS} - {"mask"} or not any(info.is_required() for info in loaded.model_fields.values())


@check(since="0.1")
def parameters_are_sound(subject: PluginSubject) -> None:
    """Parameters of a part of an edit have defaults; all go through JSON unchanged, are described, and have a JSON Schema.

    If this fails: give every field a default and a description, in `Field(description=...)` or under "Attributes:" of the class.
    """
    for entry, spec, loaded in _parameters(subject):
        if _has_defaults(spec, loaded):
            made = loaded()
            again = loaded.model_validate(json.loads(made.model_dump_json()))
            expect(
                again == made, f"{spec.name!r}: parameters change on their way through JSON: {made!r} becomes {again!r}"
            )
        described = " ".join(kind.__doc__ or "" for kind in loaded.__mro__)
        for name, info in loaded.model_fields.items():
            expect(
                bool(info.description) or f"{name}:" in described or f"{name}," in described,
                f"{spec.name!r}: field `{name}` has no description",
            )
        json.dumps(component_schema(entry))


@check(since="0.1")
def words_are_true(subject: PluginSubject) -> None:
    """Each class, with its defaults, requires the words that its description requires.

    If this fails: `requires` of the description is what must be there in any case; parameters may add to it.
    """
    for _, spec, loaded in _parameters(subject):
        needed = getattr(loaded(), "requires", None) if _has_defaults(spec, loaded) else None
        if needed is not None:
            more = sorted(frozenset(spec.requires) - needed)
            expect(
                not more, f"{spec.name!r} says that it requires {', '.join(more)}, and with its defaults it does not"
            )


@check(since="0.1")
def models_and_presets_belong_to_something(subject: PluginSubject) -> None:
    """Models name backbones, presets name components and values that these accept; functions of weights exist.

    If this fails: look at the spelling of the component, and try the values as `--set` of the component.
    """
    known = subject.known
    for entry in _entries(subject):
        item: Any = entry.item
        if isinstance(item, Model):
            known.backbone(item.backbone)
            if ":" in item.source:
                found = import_target(item.source, f"model {item.name!r}")
                expect(callable(found), f"model {item.name!r}: {item.source} is no function")
        elif isinstance(item, Preset):
            owner: Any = known.entry(*item.component).item
            validate(owner.load(), item.values)
        elif isinstance(item, BackboneSpec) and item.default_model:
            known.model(entry.qualified_name, item.default_model)


@check(since="0.1")
def it_identifies_only_its_own(subject: PluginSubject) -> None:
    """`identify_backbone` gives None for the model of another backbone, and does not fail on an odd one.

    If this fails: look up keys of `model_index` by `get`, and return None unless the class is yours.
    """
    row = subject.status
    if row is None:
        return
    module = sys.modules.get(row.module)
    hook = getattr(module, "identify_backbone", None)
    if hook is not None:
        for index in ({}, {"_class_name": "NobodysPipeline"}, {"_class_name": None}):
            arguments = {"model_index": index, "source": "nobody/nothing"}
            names = hook.__code__.co_varnames[: hook.__code__.co_argcount]
            answer = hook(**{name: arguments[name] for name in names})
            expect(answer is None, f"a pipeline {index} is taken for {answer!r}")


@check(since="0.1")
def its_backbones_can_be_tested(subject: PluginSubject) -> None:
    """The small models that a backbone names for tests can be built.

    If this fails: `testing` of a `BackboneSpec` names a function without arguments that gives a list of `BackboneSubject`.
    """
    for _, spec in _components(subject):
        if isinstance(spec, BackboneSpec) and spec.testing:
            try:
                subjects = call_target(spec.testing, f"backbone {spec.name!r}")
            except PluginError as error:
                fail(str(error))
            right = bool(subjects) and all(isinstance(each, BackboneSubject) for each in subjects)
            expect(right, f"backbone {spec.name!r}: {spec.testing} gives {subjects!r}")


CHECKS = collect(globals())
