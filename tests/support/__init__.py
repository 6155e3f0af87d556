"""What integration and engine tests share: bundles, runners, terminals, leak checks."""
