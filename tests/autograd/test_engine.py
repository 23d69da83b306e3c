"""What people do with autograd, on the device and on the CPU: the same numbers, to the bit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conformance.compare import difference
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint, set_device_states

CPU = torch.device("cpu")


def leaf(*size: int, device: torch.device, seed: int = 0) -> torch.Tensor:
    numbers = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    return numbers.to(device).requires_grad_()


def saved_tensors_hooks(d: torch.device) -> Any:
    packed = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        packed.append(tuple(tensor.shape))
        return tensor.cpu()

    x = leaf(4, 3, device=d)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor.to(d)):
        y = (x.exp() * x.sin()).sum()
    y.backward()
    return [x.grad, packed]


def save_on_cpu(d: torch.device) -> Any:
    x = leaf(4, 3, device=d)
    with torch.autograd.graph.save_on_cpu():
        y = functional.softmax(x @ x.t(), -1).pow(2).sum()
    y.backward()
    return x.grad


def checkpointed(d: torch.device, *, reentrant: bool) -> Any:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4)).to(d)
    x = leaf(2, 4, device=d)
    checkpoint(layers, x, use_reentrant=reentrant).sum().backward()
    return [x.grad, *[p.grad for p in layers.parameters()]]


class HostCube(torch.autograd.Function):
    """Goes to the CPU and numpy in both directions."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return torch.from_numpy(x.detach().cpu().numpy() ** 3).to(x.device)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return (3 * x.cpu() ** 2 * grad.cpu()).to(x.device)


def custom_function(d: torch.device) -> Any:
    x = leaf(5, device=d)
    y = HostCube.apply(x * 2)
    y.sum().backward()
    return [y, x.grad]


def tensor_hooks(d: torch.device) -> Any:
    x = leaf(5, device=d)
    y = x * 2
    y.register_hook(lambda grad: grad * 3)
    y.retain_grad()
    seen = []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    y.sin().sum().backward()
    return [x.grad, y.grad, seen]


def module_hooks(d: torch.device) -> Any:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2).to(d)
    seen: list[Any] = []
    layer.register_forward_pre_hook(lambda _, args: (args[0] * 2,))
    layer.register_forward_hook(lambda _, __, out: out + 1)
    layer.register_full_backward_hook(lambda _, ins, outs: seen.extend([*ins, *outs]))
    x = leaf(4, 3, device=d)
    layer(x).pow(2).sum().backward()
    return [x.grad, layer.weight.grad, seen]


def functional_transforms(d: torch.device) -> Any:
    x, v = leaf(4, device=d).detach(), leaf(4, device=d, seed=1).detach()
    batch = leaf(3, 4, device=d, seed=2).detach()

    def f(t: torch.Tensor) -> torch.Tensor:
        return (t.sin() * t.exp()).sum()

    return [
        torch.func.grad(f)(x),
        torch.func.vmap(torch.func.grad(f))(batch),
        torch.func.jvp(f, (x,), (v,)),
        torch.func.vjp(f, x)[1](torch.ones((), device=d)),
        torch.func.jacrev(lambda t: t.sin() * t.sum())(x),
        torch.func.jacfwd(lambda t: t.sin() * t.sum())(x),
        torch.func.hessian(f)(x),
        torch.func.vmap(lambda a, b: a @ b, in_dims=(0, None))(batch, x),
    ]


def functional_call(d: torch.device) -> Any:
    torch.manual_seed(0)
    model = nn.Linear(3, 2).to(d)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    x = leaf(5, 3, device=d).detach()

    def loss(params: Any, sample: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, params, (sample,)).pow(2).sum()

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    return [per_sample["weight"], per_sample["bias"]]


def double_backward(d: torch.device) -> Any:
    x = leaf(4, device=d)
    (first,) = torch.autograd.grad(x.pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first * first).sum(), x)
    return [first.detach(), second]


def forward_mode(d: torch.device) -> Any:
    import torch.autograd.forward_ad as fwd

    with fwd.dual_level():
        dual = fwd.make_dual(leaf(4, device=d).detach(), torch.ones(4, device=d))
        return list(fwd.unpack_dual(dual.sin() * dual))


def accumulation(d: torch.device) -> Any:
    torch.manual_seed(0)
    layer = nn.Linear(4, 4).to(d)
    for seed in range(3):
        layer(leaf(2, 4, device=d, seed=seed).detach()).pow(2).mean().backward()
    nn.utils.clip_grad_norm_(layer.parameters(), 0.1)
    return [p.grad for p in layer.parameters()]


def retained_graph(d: torch.device) -> Any:
    x = leaf(4, device=d)
    y = x.exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


WORK: dict[str, Callable[[torch.device], Any]] = {
    "saved_tensors_hooks": saved_tensors_hooks,
    "save_on_cpu": save_on_cpu,
    "checkpoint": lambda d: checkpointed(d, reentrant=False),
    "reentrant checkpoint": lambda d: checkpointed(d, reentrant=True),
    "a custom Function with CPU code": custom_function,
    "hooks on tensors": tensor_hooks,
    "hooks on modules": module_hooks,
    "torch.func": functional_transforms,
    "per-sample gradients": functional_call,
    "double backward": double_backward,
    "forward mode": forward_mode,
    "accumulation and clipping": accumulation,
    "retain_graph": retained_graph,
}


CUDA_ONLY = "device_type" not in inspect.signature(set_device_states).parameters


@pytest.mark.parametrize("name", WORK)
def test_autograd(name: str, device: torch.device) -> None:
    if "checkpoint" in name and CUDA_ONLY and device.type != "cpu":
        pytest.skip("this torch's checkpoint takes every device's random state for CUDA's")
    assert difference(WORK[name](CPU), WORK[name](device), None) == ""


def test_anomaly_mode_names_the_forward_call(device: torch.device) -> None:
    x = torch.zeros(3, device=device, requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        y = (x.sqrt() * 0).sum()
        with (
            pytest.warns(UserWarning, match="Traceback of forward call"),
            pytest.raises(RuntimeError, match="SqrtBackward0.*nan"),
        ):
            y.backward()


def test_a_saved_tensor_that_was_changed_is_eagers_error(device: torch.device) -> None:
    x = torch.ones(3, device=device, requires_grad=True)
    y = x.exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


GRADCHECKS: dict[str, Callable[..., torch.Tensor]] = {
    "matmul": lambda a, b: a @ b.t(),
    "softmax": lambda a, b: functional.softmax(a * b, -1),
    "layer_norm": lambda a, b: functional.layer_norm(a, (4,), b[0]),
    "conv1d": lambda a, b: functional.conv1d(a.unsqueeze(0), b.unsqueeze(-1)[:, :3]),
    "attention": lambda a, b: functional.scaled_dot_product_attention(
        a[None, None], b[None, None], a[None, None]
    ),
    "gather and views": lambda a, b: a.t().reshape(-1)[::2] * b.flatten()[1::2],
    "cumsum": lambda a, b: (a * b).cumsum(1),
    "logsumexp": lambda a, b: torch.logsumexp(a + b, 0),
    "index_put": lambda a, b: a.clone().index_put_((torch.tensor([0, 2]),), b[:2], accumulate=True),
}


@pytest.mark.parametrize("name", GRADCHECKS)
def test_gradcheck_through_the_device(name: str, device: torch.device) -> None:
    def make(seed: int) -> torch.Tensor:
        numbers = torch.randn(
            3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
        )
        return numbers.to(device).requires_grad_()

    assert torch.autograd.gradcheck(GRADCHECKS[name], (make(0), make(1)))
