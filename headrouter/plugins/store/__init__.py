"""Keep the registry of plug-ins, of the parts that they bring, and of the names of parts."""

from headrouter.plugins.store.registry import Registry

__all__ = ["Registry"]
