"""Provider for Google's Gemini API."""

from turnout_gemini._provider import Gemini
from turnout_gemini._settings import GeminiSettings

__all__ = ["Gemini", "GeminiSettings"]
