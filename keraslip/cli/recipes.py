"""Settings of every network as it is trained without further options."""

from keraslip.cli.settings import Settings
from keraslip.cli.usual import USUAL

#: By the name of the network.
RECIPES = {name: Settings(application=name, **usual) for name, usual in USUAL.items()}
