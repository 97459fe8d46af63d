"""Engines behind an OpenAI-compatible HTTP server."""

from mull.engines.openai.capabilities import Capabilities, Route, load, recall, remember, rows, side_by_side
from mull.engines.openai.engine import OpenAIEngine, address
from mull.engines.openai.probe import QUESTION, probe
from mull.engines.openai.wire import Wire

__all__ = [
    "QUESTION",
    "Capabilities",
    "OpenAIEngine",
    "Route",
    "Wire",
    "address",
    "load",
    "probe",
    "recall",
    "remember",
    "rows",
    "side_by_side",
]
