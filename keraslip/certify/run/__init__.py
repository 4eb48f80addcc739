"""Certification of many samples: the stages, what is read, what is reported."""
