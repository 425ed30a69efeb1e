"""The error of a file that is whole, and of another kind than npgpt has."""


class Unsupported(ValueError):
    """A file asks for something that is not done here; the message names the part."""
