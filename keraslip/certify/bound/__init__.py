"""What holds in a ball: the network in float64, and bounds on what its steps can do there."""
