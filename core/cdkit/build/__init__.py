"""From a spec to a model: parts made, widths checked, places filled, and every condition proved to reach the output."""

from cdkit.build.assemble import assemble

__all__ = ["assemble"]
