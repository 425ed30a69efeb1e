"""Models as others write them: names of arrays, fields of configs; one module an architecture."""
