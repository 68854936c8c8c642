"""The supernets once more, straight from their definitions: what the fast ones of nas_spaces must equal.

Plain functions of named parameters, NCHW, every operation of every edge on its own and a weighted sum per edge. They import
nothing from nas_spaces; only the names of the parameters are its own, so that both read the same tensors.
"""
