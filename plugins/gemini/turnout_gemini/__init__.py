"""Providers for Google's Gemini: its own API, and Vertex AI."""

from turnout_gemini._provider import Gemini
from turnout_gemini._settings import GeminiSettings, VertexSettings
from turnout_gemini._vertex import Vertex

__all__ = ["Gemini", "GeminiSettings", "Vertex", "VertexSettings"]
