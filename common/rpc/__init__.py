"""Stubs that `make proto` generates from the .proto files: change those, never these."""
