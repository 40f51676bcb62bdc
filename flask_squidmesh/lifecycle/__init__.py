"""What follows from what happened: the state tables and the pure `decide`."""
