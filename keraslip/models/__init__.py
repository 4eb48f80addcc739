"""Models that train against their own bound."""

from keraslip.models.local_lipschitz_model import LocalLipschitzModel as LocalLipschitzModel
