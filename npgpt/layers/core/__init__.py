"""What every layer is made of: the tree, its parameters and taps, their flat arrays, a start.

`npgpt.layers.core.layer` is the base class, `parameter` an array that is learned, `flat` all of a
model's parameters in one array, `taps` who hears the arrays between, `init` where numbers begin,
`names` where a dotted name is.
"""
