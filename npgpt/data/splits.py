"""The parts of a data set: their names in files, and the words for them."""

TRAIN, VALIDATION, TEST = "train", "validation", "test"

# what is printed and written of them: one word for what is held out, whatever a file calls it
WORDS = {TRAIN: "train", VALIDATION: "held-out", TEST: "test"}
