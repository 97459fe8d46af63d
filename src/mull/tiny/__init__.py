"""The embedded world: its problems and its trained checkpoints."""
