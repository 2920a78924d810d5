"""Compiled loops over the pixels of all objects of a block.

Every kernel gets the pixels sorted by object, so that an object's result depends on its own pixels alone. All are
compiled on first use and cached on disk; import this package only where it is used, as it loads numba.
"""
