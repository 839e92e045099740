"""Find the attention sites of a model by declarative rules."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from torch.nn import Module

from headrouter.attention.joint_attention import Site, Stream
from headrouter.errors import IncompatibleError


@final
@dataclass(frozen=True, slots=True)
class SiteRule:
    """Describes attention modules of one kind.

    Attributes:
        pattern: Path of the modules in the model; each ``*`` stands for a number.
        stream: Kind of attention.
        text: Name of the block's argument that carries the text stream; None where text does not enter by an argument.
        joined: Whether that argument carries text and image in one tensor, in the order of the layout.

    >>> SiteRule("transformer_blocks.*.attn", "dual").match("transformer_blocks.12.attn")
    (12,)
    """

    pattern: str
    stream: Stream
    text: str | None = "encoder_hidden_states"
    joined: bool = False

    def match(self, path: str) -> tuple[int, ...] | None:
        """Return the numbers in ``path`` if the rule means it, else None."""
        expression = r"(\d+)".join(re.escape(part) for part in self.pattern.split("*"))
        found = re.fullmatch(expression, path)
        return None if found is None else tuple(int(number) for number in found.groups())


@final
@dataclass(frozen=True, eq=False)
class FoundSite:
    """Holds a site and its modules in a model.

    Attributes:
        site: Description that methods receive.
        attention: The attention module.
        block: The module that holds it.
        rule: The rule that found it.
    """

    site: Site
    attention: Module
    block: Module
    rule: SiteRule

    @property
    def joint(self) -> bool:
        """Return whether text takes part."""
        return self.site.stream != "image"


def find_sites(model: Module, rules: Sequence[SiteRule]) -> tuple[FoundSite, ...]:
    """Return all sites, in the order of the rules and then of their numbers, which is the order of execution.

    Joint sites are numbered through; an image-only site carries the number of its block. The last joint site's text
    output goes nowhere, whatever the model: an image is what comes out.

    Raises:
        IncompatibleError: no rule finds a joint site.
    """
    modules = dict(model.named_modules())
    found: list[FoundSite] = []
    joint = 0
    for rule in rules:
        matches = ((rule.match(path), path) for path in modules)
        for numbers, path in sorted((numbers, path) for numbers, path in matches if numbers is not None):
            attention = modules[path]
            heads = int(getattr(attention, "heads", None) or attention.num_heads)
            index = numbers[0] if rule.stream == "image" else joint
            joint += rule.stream != "image"
            block = modules[path.rpartition(".")[0]]
            found.append(FoundSite(Site(index, path, rule.stream, heads), attention, block, rule))
    if not joint:
        patterns = ", ".join(rule.pattern for rule in rules)
        paths = (
            re.sub(r"\.\d+(?=\.|$)", ".*", path) for path, module in modules.items() if hasattr(module, "processor")
        )
        raise IncompatibleError(
            f"{type(model).__name__} has no joint attention at {patterns}. It attends at"
            f" {', '.join(dict.fromkeys(paths)) or 'no module with a processor'}."
        )
    last = max(position for position, item in enumerate(found) if item.joint)
    found[last] = replace(found[last], site=replace(found[last].site, text_output=False))
    return tuple(found)
