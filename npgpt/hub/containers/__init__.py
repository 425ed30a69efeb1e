"""Files that hold arrays, one module a format; each is a `npgpt.hub.WeightSource`."""
