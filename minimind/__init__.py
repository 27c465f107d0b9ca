"""A small language model in plain PyTorch, and all one does to it. Draws nothing; importing this module is free.

config      ModelConfig, TrainConfig, SampleConfig, presets: typed, to and from flags, TOML, JSON and form fields
events      what can happen, as plain data; ``experiment`` turns a generator of events into an experiment
model       what the network is: transformer (the file the course reads), cache, variants
data        text to batches: tokenizer, chat template, formats, packing, the embedded corpus
training    batches to weights: the loop, objectives, optimiser, checkpoints, runs and their supervision
inference   weights to text: sampling, the engine, the chat worker
commands    the command line, one file a command
"""

__version__ = "0.1.0"
