"""What each verb does: a function that takes the command and the log, and returns an exit status."""
