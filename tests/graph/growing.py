"""Float networks that grow layer by layer, for what is done to the channels of one."""

import numpy as np
import onnx
from onnx import ModelProto, helper

from tests.networks import small_graph

Array = np.ndarray
SHAPE = (1, 3, 12, 12)


class Growing:
    """A float network with seeded weights whose channels differ some twentyfold."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {
            "zero": np.float32(0).reshape(()),
            "six": np.float32(6).reshape(()),
        }
        self.channels = {"pixels": 3}

    def add(self, op: str, inputs: list[str], channels: int, **attributes: object) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.channels[name] = channels
        return name

    def conv(self, source: str, outputs: int, *, kernel: int = 1, group: int = 1) -> str:
        inputs = self.channels[source] // group
        rows = self.random(outputs, inputs, kernel, kernel) * self.uneven(outputs, (-1, 1, 1, 1))
        return self._weighted("Conv", source, outputs, rows, group=group, pads=[kernel // 2] * 4)

    def up(self, source: str, outputs: int) -> str:
        rows = self.random(self.channels[source], outputs, 1, 1) * self.uneven(outputs, (-1, 1, 1))
        return self._weighted("ConvTranspose", source, outputs, rows)

    def depthwise(self, source: str) -> str:
        count = self.channels[source]
        return self.conv(source, count, kernel=3, group=count)

    def act(self, source: str, op: str = "Clip") -> str:
        ends = ["zero", "six"] if op == "Clip" else []
        return self.add(op, [source, *ends], self.channels[source])

    def random(self, *shape: int) -> Array:
        return self.rng.normal(0, 2 / np.sqrt(np.prod(shape[1:])), shape)

    def uneven(self, count: int, shape: tuple[int, ...]) -> Array:
        return (10 ** self.rng.uniform(-1, 0.3, count)).reshape(shape)

    def core(self, last: str) -> ModelProto:
        """Checked; its logits are five mixtures of the tensor `last`."""
        self.conv(last, 5)
        self.nodes[-1].output[0] = "logits"
        return small_graph(self.nodes, self.weights, shape=SHAPE, out=(1, 5, *SHAPE[2:]))

    def _weighted(
        self, op: str, source: str, outputs: int, rows: Array, **attributes: object
    ) -> str:
        weight, bias = f"weight{len(self.nodes)}", f"bias{len(self.nodes)}"
        self.weights[weight] = rows.astype(np.float32)
        self.weights[bias] = self.rng.normal(0, 0.1, outputs).astype(np.float32)
        return self.add(op, [source, weight, bias], outputs, **attributes)


def residual_block(net: Growing, source: str) -> str:
    """Widened, depthwise, narrowed again and added."""
    wide = net.act(net.conv(source, 2 * net.channels[source]))
    narrow = net.conv(net.act(net.depthwise(wide)), net.channels[source])
    return net.add("Add", [source, narrow], net.channels[source])


def two_branches(net: Growing, source: str) -> str:
    """A grouped convolution and a transposed one, behind one another in a Concat."""
    left = net.act(net.conv(source, 4, kernel=3, group=2), "Relu")
    right = net.act(net.up(source, 6), "LeakyRelu")
    return net.add("Concat", [right, left], 10, axis=1)


def gate(net: Growing, source: str) -> str:
    """Half of it passes a Sigmoid, which no scale passes."""
    shut = net.add("Sigmoid", [net.conv(source, 6)], 6)
    open_ = net.act(net.conv(source, 6))
    return net.add("Mul", [shut, open_], 6)


def pooled(net: Growing, source: str) -> str:
    pool = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    return net.add("MaxPool", [net.act(net.conv(source, 8))], 8, **pool)


def beside_the_picture(net: Growing, source: str) -> str:
    """The picture's channels, which keep their scale, in one tensor with others that do not."""
    return net.add("Concat", [net.act(net.conv(source, 5)), "pixels"], 8, axis=1)


BLOCKS = [residual_block, two_branches, gate, pooled, beside_the_picture]


def random_core(seed: int) -> ModelProto:
    net = Growing(seed)
    last = net.act(net.conv("pixels", 8, kernel=3))
    for index in net.rng.choice(len(BLOCKS), 4):
        last = BLOCKS[index](net, last)
    return net.core(last)
