"""Learns from episodes, and decides who trains against whom and for how long."""
