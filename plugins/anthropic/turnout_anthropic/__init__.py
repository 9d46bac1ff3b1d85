"""Provider for Anthropic's Messages API."""

from turnout_anthropic._provider import Anthropic
from turnout_anthropic._settings import AnthropicSettings

__all__ = ["Anthropic", "AnthropicSettings"]
