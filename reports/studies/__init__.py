"""Studies of the gate itself, that anybody can run again on their own nights."""
