"""Linear maps: forward, exact adjoint, row norms. One file a family."""

from keraslip.bounds.maps.algebra import Composition as Composition
from keraslip.bounds.maps.algebra import Identity as Identity
from keraslip.bounds.maps.algebra import Sum as Sum
from keraslip.bounds.maps.algebra import compose as compose
from keraslip.bounds.maps.convolution import ConvGeometry as ConvGeometry
from keraslip.bounds.maps.convolution import ConvMap as ConvMap
from keraslip.bounds.maps.dense import DenseMap as DenseMap
from keraslip.bounds.maps.dense import DiagonalMap as DiagonalMap
from keraslip.bounds.maps.linear_map import LinearMap as LinearMap
from keraslip.bounds.maps.pooling import AveragePoolMap as AveragePoolMap
from keraslip.bounds.maps.pooling import MeanMap as MeanMap
from keraslip.bounds.maps.shape import PermuteMap as PermuteMap
from keraslip.bounds.maps.shape import ReshapeMap as ReshapeMap
from keraslip.bounds.maps.shape import ZeroPadMap as ZeroPadMap
