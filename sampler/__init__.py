"""Plays games: physics, arenas, and the workers that stream episodes to the learner."""
