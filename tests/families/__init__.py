"""Adapters of the newer families of models, plug-ins that come with headrouter."""
