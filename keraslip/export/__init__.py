"""Models that answer with their certificate, without keraslip: SavedModel and ONNX."""

from keraslip.export.exporter import FORMATS as FORMATS
from keraslip.export.exporter import export_model as export_model
