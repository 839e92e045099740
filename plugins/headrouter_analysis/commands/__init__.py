"""List the analyses, one module each, in the order of ``headrouter analyze --help``; all light until they run."""

from headrouter_analysis.commands import blocks, drop, heads, maps, routing

ANALYSES = (maps, blocks, heads, drop, routing)
