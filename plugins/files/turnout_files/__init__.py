"""Store that keeps one private file per credential."""
