"""Reads results, draws and reports."""
