"""What plugin authors test with: scripted providers, a memory store, conformance checks."""
