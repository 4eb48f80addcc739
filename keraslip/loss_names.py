"""The names of the losses, where the command line's words of help find them without Keras."""

#: For each name its class in `keraslip.losses`, the default of `compile` first.
LOSSES = {
    "gloro": "GloRoLoss",
    "bcp": "BCPLoss",
    "trades": "TradesLoss",
    "emma": "EMMALoss",
    "certified_radius": "CertifiedRadiusLoss",
    "calibrated_lipschitz_margin": "CalibratedLipschitzMarginLoss",
    "offset_cross_entropy": "OffsetCrossEntropyLoss",
    "logit_annealing": "LogitAnnealingLoss",
}
