"""Provider for OpenAI and every service that speaks its API."""
