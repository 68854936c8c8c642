"""A search space, a search method and an augmentation policy of a third party."""
