"""All that makes a command start fast and sealed."""
