"""The version of keraslip, in the one place that is edited at a release."""

__version__ = "0.1.0"
