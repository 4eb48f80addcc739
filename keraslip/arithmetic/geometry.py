"""Where the windows of convolutions and pooling fall."""

from dataclasses import dataclass

from keraslip.typing import Shape


@dataclass(frozen=True)
class ConvGeometry:
    """Strides, padding, dilation and groups of a convolution."""

    strides: tuple[int, int] = (1, 1)  #: Step along height and width.
    padding: str = "valid"  #: `"valid"` or `"same"`.
    dilation: tuple[int, int] = (1, 1)  #: Distance of the kernel's taps along height and width.
    groups: int = 1  #: Number of independent channel groups.

    def axis(self, axis: int, size: int, kernel_size: int) -> tuple[int, int]:
        """Output size and left padding along one spatial axis (0 or 1)."""
        stride = self.strides[axis]
        reach = (kernel_size - 1) * self.dilation[axis] + 1
        if self.padding == "valid":
            return (size - reach) // stride + 1, 0
        out = -(-size // stride)
        return out, max((out - 1) * stride + reach - size, 0) // 2

    def out_image(self, image: Shape, kernel: Shape) -> tuple[int, int]:
        """Height and width of the output, of those of the input and of the kernel."""
        return self.axis(0, image[0], kernel[0])[0], self.axis(1, image[1], kernel[1])[0]

    def left(self, image: Shape, kernel: Shape) -> tuple[int, int]:
        """Rows above and columns left of the image that are padding."""
        return self.axis(0, image[0], kernel[0])[1], self.axis(1, image[1], kernel[1])[1]

    def padded(self, image: Shape, kernel: Shape) -> list[tuple[int, int]]:
        """Padding before and after, along height and width, up to where windows reach."""
        sides = []
        for axis in (0, 1):
            out, left = self.axis(axis, image[axis], kernel[axis])
            reach = (kernel[axis] - 1) * self.dilation[axis] + 1
            read = (out - 1) * self.strides[axis] + reach
            sides.append((left, max(read - left - image[axis], 0)))
        return sides

    def windows(self, out_image: Shape, kernel: Shape) -> list[tuple[int, int, slice, slice]]:
        """Every tap of the kernel, and the rows and columns of the padded image that it reads."""
        (sh, sw), (dh, dw), (height, width) = self.strides, self.dilation, out_image
        return [
            (
                i,
                j,
                slice(i * dh, i * dh + sh * (height - 1) + 1, sh),
                slice(j * dw, j * dw + sw * (width - 1) + 1, sw),
            )
            for i in range(kernel[0])
            for j in range(kernel[1])
        ]

    def depthwise(self, channels: int) -> bool:
        """Whether every channel of the input is a group of its own."""
        return self.groups > 1 and self.groups == channels


@dataclass(frozen=True)
class PoolGeometry:
    """Windows of a pooling layer."""

    size: tuple[int, int]  #: Height and width of a window.
    strides: tuple[int, int]  #: Step along height and width.
    padding: str  #: `"valid"` or `"same"`.
