"""Building blocks of the networks: masked layers, attention, input features, caches.

Layers know variables and distributions, but no model family.
"""
