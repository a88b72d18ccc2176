"""Who answers: an agent is a file, and whoever can write one can have another."""
