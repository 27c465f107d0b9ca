"""What one optimiser step minimises: one file is one method, found by its name."""
