"""Adapters of Qwen-Image, Z-Image and Ovis-Image, plug-ins that come with headrouter."""
