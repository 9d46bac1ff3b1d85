"""Transport: pooled connections to upstreams."""
