"""All that a saved model may hold: importing this tells Keras the classes and keraslip their rules.

Keras imports no module to load a model: what is not registered by then is unknown to it.
"""

from keraslip import layers as layers
from keraslip import losses as losses
from keraslip import models as models
from keraslip import schedules as schedules
