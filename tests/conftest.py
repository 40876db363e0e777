"""Makes this folder importable, so that tests share helpers like `frames2lora`."""
