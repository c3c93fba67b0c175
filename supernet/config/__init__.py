"""The configuration: schema of every key, reading YAML and command lines."""
