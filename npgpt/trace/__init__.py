"""Everything that happens to one text: data, and a page that shows it box by box."""

from npgpt.trace.data import Trace, trace

__all__ = ["Trace", "trace"]
