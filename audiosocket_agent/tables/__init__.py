"""TOML files as people write them: read with suspicion, every mistake with its line."""
