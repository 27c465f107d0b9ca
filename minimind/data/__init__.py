"""Text to batches: the embedded corpus, tokenizers, the chat template, file formats, packing."""
