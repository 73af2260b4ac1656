"""Packages: what is installed here, the pins for it, and environments created from pins."""
