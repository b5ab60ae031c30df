"""What Tickover decides. Pure: no input or output, no clock, no randomness; they come in as arguments."""
