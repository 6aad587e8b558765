"""Encoders from ONNX files, turned into PyTorch modules: they run on any device and let gradients through."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from torch import Tensor, nn

from vlmatch.encoders.packaged import PackagedEncoder, PackagedOptions
from vlmatch.errors import VlmatchError, one_line
from vlmatch.machine.disk import faults_as


class OnnxEncoder(PackagedEncoder):
    """The part of an ONNX graph between its input and its feature, converted to PyTorch by onnx2torch.

    input_node, map_node, feature_node: names of values in the graph: the image batch, the last map (n, d, h, w) and the
    feature (n, d). Without a feature_node the feature is the map's global average.
    rule: the rule that feature_node follows, in words, e.g. 'global average'.
    layout: 'nchw' or 'nhwc', the order of the image batch's axes in the graph.
    """

    def __init__(
        self,
        name: str,
        *,
        input_node: str,
        map_node: str,
        preprocessing: Mapping[str, Any],
        feature_node: str | None = None,
        rule: str = "global average",
        layout: str = "nchw",
        **options: Unpack[PackagedOptions],
    ) -> None:
        if layout not in ("nchw", "nhwc"):
            raise VlmatchError(f"encoder '{name}': layout='{layout}' is unknown; choose one of nchw, nhwc")
        super().__init__(name, preprocessing, **options)
        self._rule, self._layout = rule, layout
        outputs = [("encoder.map_node", map_node), *([("encoder.feature_node", feature_node)] if feature_node else [])]
        self.trunk = onnx_trunk(name, self.weight_path, input_node, outputs)
        self.eval()

    def feature_map(self, images: Tensor) -> Tensor:
        """The value of `map_node`: (n, d, h, w)."""
        return self._outputs(images)[0]

    def paper_feature(self, images: Tensor) -> Tensor:
        """The value of `feature_node`, else the map's global average: (n, d)."""
        feature_map, *feature = self._outputs(images)
        return feature[0] if feature else feature_map.mean(dim=(2, 3))

    @property
    def paper_rule(self) -> str:
        """The feature rule in words."""
        return self._rule

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        return super().preprocessing | {"layout": self._layout}

    def _outputs(self, images: Tensor) -> Sequence[Tensor]:
        """The map (n, d, h, w) of prepared images (n, c, size, size), and the feature (n, d) if the graph has one."""
        values = self.trunk(images.permute(0, 2, 3, 1) if self._layout == "nhwc" else images)
        return [values] if isinstance(values, Tensor) else values


def onnx_trunk(name: str, path: Path, input_node: str, outputs: Sequence[tuple[str, str]]) -> nn.Module:
    """The sub-graph of an .onnx file from `input_node` to the nodes of `outputs`, as a module in eval mode.

    outputs: each node behind the setting that names it, for messages.

    Raises VlmatchError if the file is damaged or keeps weights in other files, if the graph lacks a node, or if
    onnx2torch does not know an operation.
    """
    import onnx
    from onnx2torch import convert

    def unreadable(error: Exception) -> VlmatchError:
        return VlmatchError(
            f"encoder '{name}': weights '{path}' can't be read as ONNX ({one_line(error)[:160]}); give an .onnx file"
        )

    def unconvertible(error: Exception) -> VlmatchError:
        return VlmatchError(
            f"encoder '{name}': onnx2torch can't convert '{path.name}' ({type(error).__name__}: "
            f"{one_line(error)[:160]}); choose an earlier {outputs[-1][0]}, or export the model with another opset"
        )

    with faults_as(unreadable):
        model = onnx.load(str(path), load_external_data=False)
        if any(tensor.external_data for tensor in model.graph.initializer):  # no SHA-256 would cover them
            raise VlmatchError(
                f"encoder '{name}': '{path.name}' keeps weights in other files; save it as one: "
                "onnx.save(onnx.load(FILE), NEW)"
            )
        model = onnx.shape_inference.infer_shapes(model)
    values = {value for node in model.graph.node for value in node.output} | {value.name for value in model.graph.input}
    for setting, node in [("encoder.input_node", input_node), *outputs]:
        if node not in values:
            last = ", ".join(value for node in model.graph.node[-4:] for value in node.output)
            raise VlmatchError(
                f"encoder '{name}': node '{node}' is not in '{path.name}', whose last nodes are {last}; "
                f"correct {setting}"
            )
    with faults_as(unconvertible):
        constants_as_weights(model.graph)
        part = onnx.utils.Extractor(model).extract_model([input_node], [node for _, node in outputs])
        module: nn.Module = convert(part).eval()
    return module


def constants_as_weights(graph: Any) -> None:
    """Turn the graph's Constant nodes into initializers: onnx2torch looks for weights only there."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if value is not None:
            value.name = node.output[0]
            graph.initializer.append(value)
            graph.node.remove(node)
