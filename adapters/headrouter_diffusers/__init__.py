"""Share code among adapters of diffusers models: the attention tap, the pipeline glue, tiny pipelines for tests.

It names no model class. An adapter declares where a model attends, how its sequence is laid out and how it is called;
:class:`headrouter_diffusers.pipeline.DiffusersBackbone` does the rest.
"""
