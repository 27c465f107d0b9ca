"""The training step's own C kernels: their bindings, their gradients, and the parts of a model that use them."""
