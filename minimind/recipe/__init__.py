"""A model from raw text to export, as one file: what its stages are, how far they are, and the report at the end."""
