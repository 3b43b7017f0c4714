"""What both services agree on: configuration, schedules, policies, the wire, run directories."""
