"""Provider for OpenAI and every service that speaks its API."""

from turnout_openai._provider import OpenAI
from turnout_openai._settings import OpenAISettings

__all__ = ["OpenAI", "OpenAISettings"]
