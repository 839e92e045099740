"""Edit a picture by a prompt, and keep the result, its record and inverted latents."""
