"""The course's layers: attention from its simplest form on, and the embedding as a product.

They compute what `npgpt.layers.MultiHeadAttention` and `npgpt.layers.Embedding` do, one step at a
time; no model is made of them.
"""
