"""Tokenizers in compiled code: Numba over bytes and ids, no Python object a token.

The same as `npgpt.tokenizers.reference`, and proved equal to it. Imported where it is first needed,
because Numba takes a moment to load.
"""
