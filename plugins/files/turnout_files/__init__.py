"""Store that keeps one private file per record of a credential."""

from turnout_files._files import Files

__all__ = ["Files"]
