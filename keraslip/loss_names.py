"""The names of the losses, where the command line's words of help find them without Keras."""

#: For each name its class in `keraslip.losses`, the default of `compile` first.
LOSSES = {"gloro": "GloRoLoss", "bcp": "BCPLoss", "trades": "TradesLoss"}
