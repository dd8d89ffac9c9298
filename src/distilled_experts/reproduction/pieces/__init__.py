"""The pieces by subject; each module names its pieces in ``PIECES``."""
