"""An observer that counts what a gateway does, for Prometheus to scrape at the frontend's `/metrics`."""

from turnout_prometheus._observer import Prometheus, PrometheusSettings

__all__ = ["Prometheus", "PrometheusSettings"]
