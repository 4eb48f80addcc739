"""Linear maps: forward, exact adjoint, row norms, in every arithmetic. One file a family."""

from keraslip.arithmetic.geometry import ConvGeometry as ConvGeometry
from keraslip.arithmetic.geometry import PoolGeometry as PoolGeometry
from keraslip.linear.adjoint import AdjointMap as AdjointMap
from keraslip.linear.algebra import Composition as Composition
from keraslip.linear.algebra import Identity as Identity
from keraslip.linear.algebra import Stack as Stack
from keraslip.linear.algebra import Sum as Sum
from keraslip.linear.algebra import compose as compose
from keraslip.linear.algebra import folded as folded
from keraslip.linear.convolution import ConvMap as ConvMap
from keraslip.linear.dense import DenseMap as DenseMap
from keraslip.linear.dense import DiagonalMap as DiagonalMap
from keraslip.linear.dense import ExactScaleMap as ExactScaleMap
from keraslip.linear.linear_map import LinearMap as LinearMap
from keraslip.linear.moving import CropMap as CropMap
from keraslip.linear.moving import MovingMap as MovingMap
from keraslip.linear.moving import PermuteMap as PermuteMap
from keraslip.linear.moving import ReshapeMap as ReshapeMap
from keraslip.linear.moving import ZeroPadMap as ZeroPadMap
from keraslip.linear.pooling import AveragePoolMap as AveragePoolMap
from keraslip.linear.pooling import MeanMap as MeanMap
from keraslip.linear.taking import TakeMap as TakeMap
