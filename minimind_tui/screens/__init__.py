"""One screen a file; imported only when first shown."""
