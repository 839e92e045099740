"""Say no by name to parts that cannot work together, before any model is loaded."""

from collections.abc import Iterable, Sequence

from headrouter.errors import IncompatibleError
from headrouter.plugin import BackboneSpec, ComponentSpec, InversionSpec, MethodSpec


def refuse_incompatible(backbone: BackboneSpec, inversion: InversionSpec, methods: Iterable[MethodSpec] = ()) -> None:
    """Check that each part's ``requires`` is provided by the parts it relies on.

    An inversion relies on the backbone, a backbone on the inversion, a method on both.

    Raises:
        IncompatibleError: names the part, the missing word and the parts that lack it; all misfits at once.
    """
    pairs: list[tuple[ComponentSpec, Sequence[ComponentSpec]]] = [(inversion, [backbone]), (backbone, [inversion])]
    pairs += [(method, [backbone, inversion]) for method in methods]
    misfits = [sentence for part, others in pairs for sentence in _misfits(part, others)]
    if misfits:
        raise IncompatibleError(" ".join(misfits))


def _misfits(part: ComponentSpec, others: Sequence[ComponentSpec]) -> list[str]:
    missing = sorted(part.requires - {word for other in others for word in other.provides})
    if not missing:
        return []
    words = " and ".join(repr(word) for word in missing)
    lacking = " and ".join(f"{other.kind} {other.name!r}" for other in others)
    verb = "does" if len(others) == 1 else "do"
    return [f"{part.kind} {part.name!r} needs {words}, which {lacking} {verb} not provide; choose another {part.kind}."]
