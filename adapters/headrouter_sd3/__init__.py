"""The backbone of Stable Diffusion 3 and 3.5 pipelines. Importing this package loads neither torch nor diffusers."""

headrouter_api = 1
