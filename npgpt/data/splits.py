"""The names of a data set's parts."""

TRAIN, VALIDATION, TEST = "train", "validation", "test"
