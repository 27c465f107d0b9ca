"""What ``minimind bench`` measures, one file a benchmark, each with ``register(subparsers)``."""
