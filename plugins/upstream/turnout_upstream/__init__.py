"""Scripted upstream with faults per request, for the demo, tests and plugin authors."""
