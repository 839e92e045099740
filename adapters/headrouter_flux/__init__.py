"""The backbone of Flux pipelines. Importing this package loads neither torch nor diffusers."""

headrouter_api = 1
