"""GPT-2's printable names for the 256 bytes, in which its vocabulary files are written."""

from __future__ import annotations


def byte_to_character() -> dict[int, str]:
    """Map each byte to one printable character.

    Bytes that Latin-1 prints stand for themselves; the others, in order, for the characters from
    U+0100 on. The order of the mapping is the order of GPT-2's first 256 ids (Radford et al. 2019;
    released code, ``bytes_to_unicode``).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    names = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in names:
            names[byte] = chr(0x100 + len(names) - len(printable))
    return names


BYTE_TO_CHARACTER = byte_to_character()


def to_characters(token: bytes) -> str:
    """Write a token's bytes with the printable names."""
    return "".join(BYTE_TO_CHARACTER[byte] for byte in token)
