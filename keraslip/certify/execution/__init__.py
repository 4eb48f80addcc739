"""The network as the backend runs it, held against the network as it is written down."""
