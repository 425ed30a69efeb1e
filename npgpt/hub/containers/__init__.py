"""Files that hold arrays: one module a format."""
