"""What steps, payloads and messages can do to a run, on purpose or not."""
