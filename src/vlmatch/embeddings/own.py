"""A user's own model, made of two functions: it is embedded by the same loop as every other."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vlmatch.errors import VlmatchError

REPEATED = 1e-3  # how far two embeddings of one item may lie apart, relative to their length


class Items(list[Any]):
    """The prepared captions of a batch: one entry for each caption, of any type."""


class OwnModel(nn.Module):
    """An encoder or LLM made of `prepare` and `features`, which the embedding loop calls like a built-in model.

    prepare: one image -> a tensor, of the same shape for all images; one caption -> anything. features: a batch ->
    (n, d), a tensor or array. A batch of images is one stacked tensor; a batch of captions is a list of what `prepare`
    returned.

    identity: what its embeddings are stored under; None: they are not stored. stated: what the user says for the spec
    sheet of an encoder, by name (`spec_sheet.STATED`).

    torch modules that `features` is, belongs to or refers to are moved to the device, put into eval mode, and counted
    as the model's parameters unless `n_parameters` is given. `restored` undoes the first two.
    """

    rule: ClassVar[str] = "own features"
    control: ClassVar[bool] = False
    weights_sha256: ClassVar[None] = None

    def __init__(
        self,
        kind: str,
        name: str,
        prepare: Callable[[Any], Any],
        features: Callable[[Any], Any],
        identity: str | None = None,
        n_parameters: int | None = None,
        stated: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.name = kind, name
        self.identity = identity
        self.prepare = prepare
        self.features = features
        self.modules_used = nn.ModuleList(modules_of(features))
        self._n_parameters = n_parameters
        self.stated = stated or {}
        self.preprocessing: dict[str, Any] = {}

    def n_parameters(self) -> int | None:
        """The given number, else that of the modules used; None if no module is used."""
        if self._n_parameters is not None:
            return self._n_parameters
        return sum(parameter.numel() for parameter in self.parameters()) or None

    def collate(self, items: Sequence[Any]) -> Tensor | Items:
        """A batch of prepared items. Raises VlmatchError if images are not tensors of one shape."""
        if self.kind == "llm":
            return Items(items)
        try:
            tensors = [torch.as_tensor(item) for item in items]
        except (TypeError, ValueError, RuntimeError) as error:
            raise VlmatchError(
                f"encoder '{self.name}': prepare gives {type(items[0]).__name__}; wanted a tensor"
            ) from error
        shapes = sorted({tuple(tensor.shape) for tensor in tensors})
        if len(shapes) > 1:
            raise VlmatchError(
                f"encoder '{self.name}': prepare gives tensors of shape {shapes[0]} and {shapes[1]}; wanted one shape "
                "for all images"
            )
        return torch.stack(tensors)

    def forward(self, batch: Any) -> Tensor:
        """The embeddings of a batch. Raises VlmatchError if `features` gives no tensor."""
        given = self.features(batch)
        try:
            return torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise VlmatchError(
                f"{self.kind} '{self.name}': features gives {type(given).__name__}; wanted a tensor or array (n, d)"
            ) from error

    def truncation(self, captions: Sequence[str]) -> None:
        """None: what a user's own LLM cuts off is not known."""

    def require_repeatable(self, first: Tensor, second: Tensor) -> None:
        """Raise VlmatchError unless two embeddings of the same item, prepared and run twice, are equal."""
        if first.shape == second.shape and bool((first - second).norm() <= REPEATED * first.norm()):
            return
        thing = "picture" if self.kind == "encoder" else "caption"
        raise VlmatchError(
            f"{self.kind} '{self.name}': embedding the same {thing} twice gives different results; remove randomness "
            "(augmentation, dropout) from prepare and features"
        )


def modules_of(function: Callable[..., Any]) -> list[nn.Module]:
    """The torch modules that a callable is, is a method of, or refers to by a name."""
    owner = getattr(function, "__self__", function)
    values = [owner, *getattr(owner, "__dict__", {}).values()] if not inspect.isfunction(owner) else []
    code = getattr(function, "__func__", function)  # of a method
    if inspect.isfunction(code):
        used = inspect.getclosurevars(code)
        values += [*used.nonlocals.values(), *used.globals.values()]
    return list(_outermost(dict.fromkeys(value for value in values if isinstance(value, nn.Module))))


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """After the block, restore the modules' modes and the tensors' device, type, layout and values."""
    modes = {module: module.training for module in model.modules()}
    entries: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (owner, dict(owner)) for module in modes for owner in (module._parameters, module._buffers)
    ]
    tensors = [
        (each, each.data, each.grad, None if each.grad is None else each.grad.data) for each in model.parameters()
    ]
    try:
        yield
    finally:
        for owner, before in entries:
            owner.update(before)
        for parameter, data, gradient, gradient_data in tensors:
            parameter.data = data
            if gradient is not None and gradient_data is not None:
                gradient.data = gradient_data
            parameter.grad = gradient
        for module, training in modes.items():
            module.training = training


def _outermost(modules: dict[nn.Module, None]) -> Iterator[nn.Module]:
    """The modules that are not part of another one."""
    for module in modules:
        if not any(module in set(other.modules()) for other in modules if other is not module):
            yield module
