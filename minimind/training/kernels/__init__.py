"""The training step's own C kernels and their bindings; `load_kernels` gives them, or None where they cannot be built."""
