"""A writer of gettext's catalogues, as msgfmt has it."""

import struct

HEADER = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n"


def write_catalogue(path, messages, header=HEADER):
    """Write messages, a mapping of texts: ``context\\4text``, ``text\\0plural`` to ``one\\0many``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = sorted((k.encode(), v.encode()) for k, v in {"": header, **messages}.items())
    sides = list(zip(*entries, strict=True))
    offset = 28 + 16 * len(entries)
    tables, content = [], b""
    for side in sides:
        for text in side:
            tables.append(struct.pack("<2I", len(text), offset + len(content)))
            content += text + b"\0"
    start = struct.pack("<7I", 0x950412DE, 0, len(entries), 28, 28 + 8 * len(entries), 0, 0)
    path.write_bytes(start + b"".join(tables) + content)
    return path
