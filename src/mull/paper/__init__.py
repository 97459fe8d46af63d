"""The whole paper from a study: every figure beside the paper's curve, every claim with a verdict."""
