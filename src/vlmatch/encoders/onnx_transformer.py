"""Vision transformers from ONNX files, turned into PyTorch modules: their blocks are the layers to choose from."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from torch import Tensor

from vlmatch.encoders.layers import LayerOutput
from vlmatch.encoders.onnx import onnx_trunk
from vlmatch.encoders.packaged import PackagedEncoder, PackagedOptions
from vlmatch.errors import VlmatchError


class OnnxTransformer(PackagedEncoder):
    """The blocks of a vision transformer in an ONNX graph, converted to PyTorch by onnx2torch.

    input_node: the name of the image batch in the graph. block_node: the name of a block's output (n, 1 + t, d), with
    '{}' in the place of the block's number, counted from 0. blocks: how many there are. norm_node: the name of the
    output of the final norm. The first of the 1 + t tokens is the CLS; the others are the patches of a square image. As
    with timm's transformers, a VLM is fed the patches after the last block but one.
    """

    def __init__(
        self,
        name: str,
        *,
        input_node: str,
        block_node: str,
        blocks: int,
        norm_node: str,
        preprocessing: Mapping[str, Any],
        **options: Unpack[PackagedOptions],
    ) -> None:
        if blocks < 2 or "{}" not in block_node:
            raise VlmatchError(
                f"encoder '{name}': blocks={blocks}, block_node='{block_node}'; wanted 2 blocks or more, and a node "
                "with {} in the place of the block's number"
            )
        super().__init__(name, preprocessing, **options)
        nodes = [("encoder.block_node or encoder.blocks", block_node.format(number)) for number in range(blocks)]
        self._n_blocks = blocks
        self.trunk = onnx_trunk(name, self.weight_path, input_node, [*nodes, ("encoder.norm_node", norm_node)])
        self.eval()

    def feature_map(self, images: Tensor) -> Tensor:
        """The patches after the last block but one as a map: (n, d, h, h)."""
        patches = self._outputs(images)[-3][:, 1:]
        n, t, d = patches.shape
        return patches.transpose(1, 2).reshape(n, d, math.isqrt(t), math.isqrt(t))

    def paper_feature(self, images: Tensor) -> Tensor:
        """The CLS token after the final norm: (n, d)."""
        return self._outputs(images)[-1][:, 0]

    @property
    def paper_rule(self) -> str:
        """The feature rule in words."""
        return "cls"

    @property
    def n_layers(self) -> int:
        """The number of its blocks."""
        return self._n_blocks

    def layer_outputs(self, images: Tensor, numbers: Sequence[int]) -> list[LayerOutput]:
        """The outputs of blocks, before the final norm."""
        outputs = self._outputs(images)
        return [LayerOutput(outputs[number - 1][:, 1:], outputs[number - 1][:, 0]) for number in numbers]

    def n_parameters(self) -> int:
        """The number of its weights. Buffers count too: onnx2torch keeps the matrices of linear layers as buffers."""
        weights = [*self.parameters(), *(buffer for buffer in self.buffers() if buffer.is_floating_point())]
        return sum(weight.numel() for weight in weights if weight.numel() > 1)

    def _outputs(self, images: Tensor) -> Sequence[Tensor]:
        """The output of each block and that of the final norm: (n, 1 + t, d) each."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="onnx2torch")  # it slices by lists, which torch warns about
            outputs: Sequence[Tensor] = self.trunk(images)
        return outputs
