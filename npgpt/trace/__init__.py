"""Everything that happens to one text: data, a page that shows it box by box, and what makes both.

`data` knows nothing of its view, `page` draws it, and `tracing` stands above the two.
"""

from npgpt.trace.tracing import Trace, trace

__all__ = ["Trace", "trace"]
