"""What every layer is made of: the tree, its parameters and taps, their flat arrays, a start.

`npgpt.layers.core.layer` is the base class, which takes what it says of itself from `shown`, its
errors from `checks`, its names for the arrays between from `tapped` (`taps` is who hears them) and
the walk over its parameters from `parameters`. `parameter` is an array that is learned, `flat` all
of a model's parameters in one array, `init` where numbers begin, `names` where a dotted name is.
"""
