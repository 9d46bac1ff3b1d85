"""Provider for OpenAI, for Azure OpenAI and for every service that speaks the same API."""

from turnout_openai._azure import AzureOpenAI
from turnout_openai._provider import OpenAI
from turnout_openai._settings import AzureSettings, OpenAISettings
from turnout_openai._vendors import VENDORS, Vendor

__all__ = ["VENDORS", "AzureOpenAI", "AzureSettings", "OpenAI", "OpenAISettings", "Vendor"]
