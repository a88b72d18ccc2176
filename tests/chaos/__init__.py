"""Real calls through real faults, judged at the caller's ear: `make chaos`, `make soak`."""
