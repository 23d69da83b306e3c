"""The vocabulary of programs: each function appends one step of its kind to a scene."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from property.scene import DTYPES, Scene

Step = Callable[[Scene], None]


def _is_float(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point()


def _is_number(tensor: torch.Tensor) -> bool:
    return tensor.dtype != torch.bool and not tensor.is_complex()


def _is_inexact(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _size(scene: Scene, most: int = 4) -> tuple[int, ...]:
    sizes = (3, 2, 4, 1, 0)
    return tuple(
        sizes[-1] if scene.chance(15) else scene.pick(sizes[:4])
        for _ in range(scene.number(0, most))
    )


def _scalar(scene: Scene, like: torch.Tensor | None = None) -> str:
    scalars = ["2", "-1", "0.5", "True", "-2.25", "3"]
    if like is None or like.is_complex():
        scalars.append("(1+2j)")
    return scene.pick(scalars)


# ---- making


def create(scene: Scene) -> None:
    dtype = scene.pick(DTYPES)
    size = _size(scene)
    text = f"data({size}, {dtype}, {scene.number(0, 9)}).to(dev)"
    if scene.chance(5):
        text = scene.pick(
            [
                f"torch.full({size}, {_scalar(scene)}, dtype={dtype}, device=dev)",
                f"torch.arange({scene.number(0, 9)}, device=dev)",
                f"torch.zeros({size}, dtype={dtype}, device=dev)",
                f"torch.tensor({_scalar(scene)}, device=dev)",
                f"torch.eye({scene.number(0, 3)}, device=dev)",
                f"torch.linspace(-1, 1, {scene.number(0, 6)}, device=dev)",
            ]
        )
    elif len(size) == 4 and scene.chance(2):
        text += ".to(memory_format=torch.channels_last)"
    name = scene.new(text)
    if dtype.is_floating_point and scene.chance(3):
        scene.add(f"{name}.requires_grad_()")


def make_like(scene: Scene) -> None:
    name = scene.tensor()
    scene.new(
        scene.pick(
            [
                f"torch.zeros_like({name})",
                f"torch.ones_like({name}, dtype={scene.pick(DTYPES)})",
                f"torch.full_like({name}, {_scalar(scene, scene[name])})",
                f"{name}.new_zeros({_size(scene)})",
                f"{name}.new_tensor([1, 2])",
                f"torch.empty_like({name}).fill_(1)",
            ]
        )
    )


# ---- views


def view(scene: Scene) -> None:
    name = scene.tensor()
    scene.new(scene.pick(_VIEWS)(scene, name))


def _slice_error(device: str) -> str:
    try:
        torch.zeros((), device=device)[0:]
    except IndexError as error:
        return str(error)
    return ""


# Old releases look at the sizes in another order where the device is neither CPU nor CUDA.
_SCALARS_REFUSE_SLICES_ALIKE = _slice_error("cpu") == _slice_error("meta")


def _slice(scene: Scene, name: str) -> str:
    if not _SCALARS_REFUSE_SLICES_ALIKE and scene[name].dim() == 0:
        return f"{name}[...]"
    bounds = (f"{scene.number(0, 2)}:", f":{scene.number(-2, 3)}", "::2", "1:3")
    index = ["..."] if scene.chance(4) else []
    index += [scene.pick(bounds) for _ in range(scene.number(1, 2))]
    return f"{name}[{', '.join(index)}]"


def _select(scene: Scene, name: str) -> str:
    return f"{name}.select({scene.dim(name)}, {scene.number(-1, 2)})"


def _transpose(scene: Scene, name: str) -> str:
    return f"{name}.transpose({scene.dim(name)}, {scene.dim(name)})"


def _permute(scene: Scene, name: str) -> str:
    rank = scene[name].dim()
    turn = scene.number(0, rank) if rank else 0
    return f"{name}.permute({[(i + turn) % rank for i in range(rank)]})"


def _expand(scene: Scene, name: str) -> str:
    size = [n if n != 1 else scene.number(1, 3) for n in scene[name].shape]
    front = [scene.number(0, 3)] if scene.chance(2) else []
    return f"{name}.expand({front + size})"


def _fills(tensor: torch.Tensor) -> bool:
    """Whether there is nothing undefined in its storage."""
    root = tensor if tensor._base is None else tensor._base
    return root.untyped_storage().nbytes() == root.numel() * root.element_size()


def _as_strided(scene: Scene, name: str) -> str:
    if not _fills(scene[name]):
        return _slice(scene, name)
    rank = scene.number(0, 3)
    size = tuple(scene.number(0, 3) for _ in range(rank))
    stride = tuple(scene.number(0, 3) for _ in range(rank))
    offset = f", {scene.number(0, 2)}" if scene.chance(2) else ""
    return f"{name}.as_strided({size}, {stride}{offset})"


def _unfold(scene: Scene, name: str) -> str:
    return f"{name}.unfold({scene.dim(name)}, {scene.number(0, 3)}, {scene.number(1, 2)})"


def _reshape(scene: Scene, name: str) -> str:
    how = scene.pick(["view", "reshape"])
    count = scene[name].numel()
    sizes = [(-1,), (count,), (1, count)]
    sizes += [(n, count // n) for n in (2, 3, 4) if count % n == 0]
    return f"{name}.{how}({scene.pick(sizes)})"


def _diagonal(scene: Scene, name: str) -> str:
    return f"{name}.diagonal({scene.number(-1, 1)}, {scene.dim(name)}, {scene.dim(name)})"


def _narrow(scene: Scene, name: str) -> str:
    return f"{name}.narrow({scene.dim(name)}, {scene.number(0, 2)}, {scene.number(0, 2)})"


def _piece(scene: Scene, name: str) -> str:
    dim, count = scene.dim(name), scene.number(1, 3)
    how = scene.pick([f"chunk({count}, {dim})", f"split({count}, {dim})", f"unbind({dim})"])
    return f"{name}.{how}[{scene.number(-1, 0)}]"


def _one_dim(scene: Scene, name: str) -> str:
    how = scene.pick(["unsqueeze", "squeeze", "movedim"])
    return f"{name}.{how}({scene.dim(name)}{', 0' if how == 'movedim' else ''})"


def _plain_view(scene: Scene, name: str) -> str:
    views = [".detach()", ".data", ".flatten()", ".squeeze()", ".mT", f".view_as({name})"]
    views += [
        ".conj()",
        # A bool's has no value to compare: no device can negate one.
        ".detach()" if scene[name].dtype == torch.bool else "._neg_view()",
        ".real",
        ".imag",
        ".t()",
        ".ravel()",
        "[None]",
        ".T",
    ]
    return name + scene.pick(views)


def _reinterpret(scene: Scene, name: str) -> str:
    if scene[name].is_complex():
        return f"torch.view_as_real({name})"
    dtype = scene.pick(["torch.int32", "torch.uint8", "torch.float32", "torch.int64"])
    return scene.pick([f"{name}.view({dtype})", f"torch.view_as_complex({name})"])


def _expand_as(scene: Scene, name: str) -> str:
    other = scene.tensor()
    return scene.pick(
        [f"{name}.expand_as({other})", f"torch.broadcast_tensors({name}, {other})[0]"]
    )


_VIEWS = (
    _slice, _select, _transpose, _permute, _expand, _as_strided, _unfold, _reshape, _diagonal,
    _narrow, _piece, _one_dim, _plain_view, _plain_view, _reinterpret, _expand_as,
)  # fmt: skip


# ---- computing

_UNARY = (
    "neg", "abs", "exp", "sin", "sqrt", "relu", "sigmoid", "tanh", "floor", "round",
    "reciprocal", "square", "logical_not", "isnan", "bitwise_not", "erf", "clone", "contiguous",
    "resolve_conj", "resolve_neg", "angle", "positive", "sgn", "sign", "log1p", "frac", "cos",
    "conj_physical", "isfinite", "deg2rad", "rsqrt", "expm1", "trunc", "nan_to_num",
)  # fmt: skip


def unary(scene: Scene) -> None:
    name = scene.tensor()
    op = scene.pick(_UNARY)
    scene.new(
        scene.pick([f"{name}.{op}()", f"torch.{op}({name})"])
        if op != "contiguous"
        else f"{name}.{op}()"
    )


_BINARY = (
    "add",
    "mul",
    "sub",
    "div",
    "maximum",
    "minimum",
    "eq",
    "lt",
    "ne",
    "logical_and",
    "atan2",
)
_OPERATORS = ("+", "*", "-", "/", ">", "<=", "==", "&", "|", "**")


def _other(scene: Scene, name: str) -> str:
    kind = scene.number(0, 5)
    if kind == 0:
        return _scalar(scene)
    if kind == 1:
        return f"torch.tensor({_scalar(scene)})"
    shape = scene[name].shape
    alike = scene.names(lambda t: t.shape == shape or t.dim() == 0)
    return scene.pick(alike) if alike and scene.chance(2) else scene.tensor()


def binary(scene: Scene) -> None:
    name = scene.tensor()
    other = _other(scene, name)
    if scene.chance(2):
        op = scene.pick(_OPERATORS)
        pair = (other, name) if scene.chance(4) else (name, other)
        if op == "**" and other[0] == "t":
            pair = (name, "2")
        scene.new(f"{pair[0]} {op} {pair[1]}")
        return
    op = scene.pick(_BINARY)
    alpha = (
        f", alpha={scene.pick(['2', '0.5', '-1'])}"
        if op in ("add", "sub") and scene.chance(3)
        else ""
    )
    scene.new(f"torch.{op}({name}, {other}{alpha})")


def ternary(scene: Scene) -> None:
    a, b = scene.tensor(), scene.tensor()
    c = scene.tensor(lambda t: t.dtype == torch.bool)
    scene.new(
        scene.pick(
            [
                f"torch.where({c}, {a}, {_other(scene, a)})",
                f"torch.where({a} > 0, {a}, {b})",
                f"torch.addcmul({a}, {b}, {c}, value=0.5)",
                f"torch.addcdiv({a}, {b}, {b})",
                f"torch.lerp({a}, {b}, 0.25)",
                f"torch.clamp({a}, -1, {_scalar(scene)})",
                f"torch.clamp({a}, min={b})",
            ]
        )
    )


_REDUCTIONS = (
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "any",
    "all",
    "argmax",
    "var",
    "norm",
    "std",
    "nansum",
)


def reduce(scene: Scene) -> None:
    name = scene.tensor()
    # Of an expanded tensor the CPU's median gives memory that nobody wrote to; hence the clone.
    dim = scene.dim(name)
    keep = scene.pick(["", ", keepdim=True"])
    op = scene.pick(_REDUCTIONS)
    scene.new(
        scene.pick(
            [
                f"{name}.{op}()",
                f"{name}.{op}(dim={dim}{keep})",
                f"{name}.sum(dtype={scene.pick(DTYPES)})",
                f"{name}.max({dim}{keep})[{scene.number(0, 1)}]",
                f"{name}.sort({dim})[0]",
                f"{name}.cumsum({dim})",
                f"{name}.logsumexp({dim})",
                f"{name}.clone().median({dim})[0]",
                f"{name}.softmax({dim})",
                f"{name}.count_nonzero()",
                f"torch.linalg.vector_norm({name}, dim={dim}{keep})",
            ]
        )
    )


def contract(scene: Scene) -> None:
    name = scene.tensor(lambda t: _is_inexact(t) and t.dim() > 0)
    dtype = scene[name].dtype
    other = scene.tensor(lambda t: t.dtype == dtype and t.dim() > 0)
    more = scene.tensor(lambda t: t.dtype == dtype)
    scene.new(
        scene.pick(
            [
                f"{name} @ {name}.mT",
                f"{name} @ {other}",
                f"torch.matmul({name}, {other})",
                f"torch.einsum('...i,...i->...', {name}, {other})",
                f"F.linear({name}, {other})",
                f"torch.outer({name}.flatten(), {other}.flatten())",
                f"torch.addmm({more}, {name}, {other})",
                f"torch.baddbmm({more}, {name}, {other}, beta=0.5)",
                f"torch.dot({name}.flatten(), {name}.flatten())",
                f"torch.tensordot({name}, {name}, {scene[name].dim()})",
            ]
        )
    )


def network(scene: Scene) -> None:
    name = scene.tensor(lambda t: t.is_floating_point() and t.dim() > 2)
    width = scene[name].shape[-1] if scene[name].dim() else 1
    channels = scene[name].shape[1] if scene[name].dim() > 1 else 1
    dtype = scene[name].dtype
    scene.new(
        scene.pick(
            [
                f"F.layer_norm({name}, ({width},))",
                f"F.gelu({name})",
                f"F.max_pool2d({name}, 2, padding=1)",
                f"F.avg_pool2d({name}, 2, ceil_mode=True)",
                f"F.conv2d({name}, data((2, {channels}, 1, 1), {dtype}, 3).to(dev))",
                f"F.conv1d({name}, data((2, {channels}, 2), {dtype}, 3).to(dev), padding=1)",
                f"F.batch_norm({name}, None, None, training=True)",
                f"F.pad({name}, (1, 0))",
                f"F.interpolate({name}, scale_factor=2)",
                f"F.softplus({name})",
                f"F.mse_loss({name}, {scene.tensor()}, reduction='none')",
                f"F.leaky_relu({name}, 0.1)",
                f"F.dropout({name}, 0.5)",
                f"F.adaptive_avg_pool2d({name}, 2)",
                f"F.pixel_shuffle({name}, 2)",
                f"F.group_norm({name}, 1)",
                f"F.scaled_dot_product_attention({name}, {name}, {name})",
                f"torch.rand_like({name})",
            ]
        )
    )


def arrange(scene: Scene) -> None:
    a, b = scene.tensor(), scene.tensor()
    dim = scene.dim(a)
    scene.new(
        scene.pick(
            [
                f"torch.cat([{a}, {a}], {dim})",
                f"torch.cat([{a}, {b}], {dim})",
                f"torch.stack([{a}, {a}], {dim})",
                f"{a}.repeat({scene.number(0, 2)}, 1, 1, 2)",
                f"{a}.flip({dim})",
                f"{a}.roll(1, {dim})",
                f"{a}.tril()",
                f"torch.triu({a}, 1)",
                f"{a}.repeat_interleave(2)",
                f"{a}.index_select({dim}, torch.tensor([0, 0], device=dev))",
                f"{a}.gather({dim}, torch.zeros_like({a}, dtype=torch.int64))",
                f"torch.take_along_dim({a}, {a}.argsort({dim}), {dim})",
                f"{a}[..., torch.tensor([0])]",
                f"{a}[torch.tensor([0, 0], device=dev), ...]",
                f"{a}.rot90()",
                f"{a}.diag_embed()",
                f"{a}.masked_fill({a} > 0, {_scalar(scene, scene[a])})",
                f"torch.block_diag({a}, {b})",
            ]
        )
    )


def convert(scene: Scene) -> None:
    name = scene.tensor()
    dtype = scene.pick(DTYPES)
    formats = ["torch.channels_last", "torch.contiguous_format", "torch.preserve_format"]
    scene.new(
        scene.pick(
            [
                f"{name}.to({dtype})",
                f"{name}.to({dtype}, copy=True)",
                f"{name}.to(memory_format=torch.channels_last)",
                f"{name}.clone(memory_format={scene.pick(formats)})",
                f"{name}.contiguous(memory_format={scene.pick(formats[:2])})",
                f"{name}.detach().cpu().clone().to(dev)",
                f"{name}.to(dev)",
                f"{name}.type_as({scene.tensor()})",
                f"torch.nn.Parameter({name}.detach())",
            ]
        )
    )


def data_dependent(scene: Scene) -> None:
    name = scene.tensor()
    mask = scene.tensor(lambda t: t.dtype == torch.bool)
    scene.new(
        scene.pick(
            [
                f"{name}.nonzero()",
                f"torch.masked_select({name}, {name} != 0)",
                f"{name}[{name} == {name}]",
                f"{name}[{mask}]",
                f"torch.unique({name})",
                f"torch.unique({name}, return_counts=True)[1]",
                f"{name}.nonzero(as_tuple=True)[0]",
                f"torch.unique_consecutive({name})",
                f"torch.argwhere({name})",
                f"torch.bincount(({name} > 0).flatten().long())",
            ]
        )
    )


# ---- writing

_INPLACE = (
    "neg_()", "zero_()", "abs_()", "exp_()", "sqrt_()", "relu_()", "sigmoid_()", "floor_()",
    "clamp_(min=0)", "tril_()", "t_()", "squeeze_()", "unsqueeze_(0)", "transpose_(0, -1)",
    "detach_()", "requires_grad_()", "logical_not_()", "cumsum_(0)", "square_()",
    "conj_physical_()", "normal_()", "bernoulli_(0.5)", "uniform_()", "random_(5)",
    "nan_to_num_()", "fill_diagonal_(1)", "erfinv_()", "sin_()", "t_()", "swapaxes_(0, 1)",
)  # fmt: skip


def write(scene: Scene) -> None:
    name = scene.tensor()
    prefix = "with torch.no_grad(): " if scene.chance(3) else ""
    scene.add(prefix + scene.pick(_WRITES)(scene, name))


def _write_unary(scene: Scene, name: str) -> str:
    return f"{name}.{scene.pick(_INPLACE)}"


def _write_binary(scene: Scene, name: str) -> str:
    op = scene.pick(
        ["add_", "mul_", "sub_", "div_", "copy_", "eq_", "logical_or_", "lt_", "atan2_"]
    )
    other = _other(scene, name)
    if op == "copy_" and other[0] != "t":
        other = scene.tensor()
    alpha = ", alpha=2" if op in ("add_", "sub_") and scene.chance(3) else ""
    return f"{name}.{op}({other}{alpha})"


def _write_operator(scene: Scene, name: str) -> str:
    return f"{name} {scene.pick(['+=', '*=', '-=', '/=', '|='])} {_other(scene, name)}"


def _write_item(scene: Scene, name: str) -> str:
    index = scene.pick(["0", "..., -1", "1:", ":, 0", f"{name} > 0", "torch.tensor([0, 0])", "..."])
    value = scene.pick([_scalar(scene, scene[name]), _value(scene, name)])
    return f"{name}[{index}] = {value}"


def _value(scene: Scene, name: str) -> str:
    # Where a 0-dim CPU tensor is assigned to an item, PyTorch fills with it, and filling makes even
    # integers require grad; on all other devices it copies, which does not.
    scalars = not _is_inexact(scene[name])
    values = scene.names(lambda t: not (scalars and t.dim() == 0 and t.requires_grad))
    return scene.pick([*values, "torch.tensor(1., device=dev)", "torch.tensor(2)"])


def _write_masked(scene: Scene, name: str) -> str:
    mask = scene.tensor(lambda t: t.dtype == torch.bool)
    return scene.pick(
        [
            f"{name}.masked_fill_({name} > 0, {_scalar(scene, scene[name])})",
            f"{name}.masked_fill_({mask}, {scene.tensor(lambda t: t.dim() == 0)})",
            f"{name}.masked_scatter_({name} > 0, {name}.clone())",
            f"{name}.fill_({_scalar(scene, scene[name])})",
            f"{name}.fill_({scene.tensor(lambda t: t.dim() == 0)})",
        ]
    )


def _write_indexed(scene: Scene, name: str) -> str:
    index = "torch.tensor([0, 0], device=dev)"
    dim = scene.dim(name)
    zeros = f"torch.zeros_like({name}, dtype=torch.int64)"
    return scene.pick(
        [
            f"{name}.index_put_(({index},), {_value(scene, name)}, accumulate=True)",
            f"{name}.index_put_((torch.tensor([0]),), {_value(scene, name)})",
            f"{name}.index_add_({dim}, {index}, {name}.clone(), alpha=2)",
            f"{name}.index_fill_({dim}, {index}, {_scalar(scene, scene[name])})",
            f"{name}.index_copy_({dim}, {index}[:1], {name}.narrow({dim}, 0, 1).clone())",
            f"{name}.scatter_({dim}, {zeros}, 1)",
            f"{name}.scatter_add_({dim}, {zeros}, {name}.clone())",
        ]
    )


def _write_ternary(scene: Scene, name: str) -> str:
    a, b = scene.tensor(), scene.tensor()
    return scene.pick(
        [
            f"{name}.addcmul_({a}, {b}, value=2)",
            f"{name}.lerp_({a}, 0.5)",
            f"{name}.addmm_({a}, {b})",
            f"torch._foreach_add_([{name}, {a}], 1)",
            f"torch._foreach_mul_([{name}], [{a}])",
        ]
    )


_WRITES = (
    _write_unary, _write_binary, _write_unary, _write_binary, _write_operator, _write_item,
    _write_masked, _write_indexed, _write_ternary,
)  # fmt: skip


def write_out(scene: Scene) -> None:
    out = scene.tensor()
    if scene.chance(2):
        out = scene.new(f"torch.zeros({_size(scene, 2)}, dtype={scene[out].dtype}, device=dev)")
    a, b = scene.tensor(), scene.tensor()
    dim = scene.dim(a)
    expressions = [
        f"torch.add({a}, {b}, out={out})",
        f"torch.mul({a}, 2, out={out})",
        f"torch.exp({a}, out={out})",
        f"torch.eq({a}, {b}, out={out})",
        f"torch.clamp({a}, 0, out={out})",
        f"torch.full(({scene.number(0, 3)},), 2, out={out})",
        f"torch.arange(4, out={out})",
        f"torch.cat([{a}, {a}], {dim}, out={out})",
        f"torch.sum({a}, {dim}, out={out})",
        f"torch.mm({a}, {b}, out={out})",
        f"torch.cumsum({a}, {dim}, out={out})",
        f"torch.index_select({a}, {dim}, torch.tensor([0], device=dev), out={out})",
        f"torch.stack([{a}, {a}], out={out})",
        f"torch.nonzero({a}, out={out})",
        f"torch.where({a} > 0, {a}, {a}, out={out})",
        f"torch.masked_select({a}, {a} > 0, out={out})",
        f"torch.argmax({a}, {dim}, out={out})",
    ]
    scene.add(scene.pick(expressions))


def reshape_storage(scene: Scene) -> None:
    name = scene.tensor()
    other = scene.tensor(_fills)
    scene.add(
        scene.pick(
            [
                _resize(scene, name),
                f"{name}.resize_as_({other}); {_overwrite(name)}",
                f"{name}.set_({other})",
                f"{name}.set_({other}.untyped_storage())",
                f"{name}.set_({other}.untyped_storage(), 1, (2,), (1,)); {_overwrite(name)}",
                f"{name}.set_()",
                f"{name}.data = {other}",
                f"{name}.swapaxes_(0, -1)",
                f"{name}.as_strided_((2,), (1,))" if _fills(scene[name]) else f"{name}.t_()",
            ]
        )
    )


def _resize(scene: Scene, name: str) -> str:
    size = _size(scene, 3)
    needed = math.prod(size) and math.prod(size) + scene[name].storage_offset()
    held = scene[name].untyped_storage().nbytes() // scene[name].element_size()
    line = f"{name}.resize_({size})"
    return line if needed <= held else f"{line}; {_overwrite(name)}"


def _overwrite(name: str) -> str:
    """Give a storage that may have grown a content: what it gained is undefined."""
    whole = "torch.empty(0, dtype=torch.uint8, device=dev)"
    return f"{whole}.set_({name}.untyped_storage()).fill_(1)"


# ---- autograd


def backward(scene: Scene) -> None:
    name = scene.tensor(lambda t: t.requires_grad and not t.is_leaf)
    loss = f"{name}.abs().sum()" if scene[name].is_complex() else f"{name}.sum()"
    leaf = scene.tensor(lambda t: t.requires_grad and t.is_leaf)
    scene.add(
        scene.pick(
            [
                f"{loss}.backward()",
                f"({name} * {name}).sum().backward(retain_graph=True)",
                f"{name}.backward(torch.ones_like({name}))",
                f"{leaf}.grad = None",
                f"{name}.retain_grad()",
            ]
        )
    )
    if scene.chance(2):
        scene.new(
            scene.pick(
                [f"{leaf}.grad", f"torch.autograd.grad({loss}, {leaf}, allow_unused=True)[0]"]
            )
        )


def leaf(scene: Scene) -> None:
    name = scene.tensor(_is_float)
    scene.add(f"{name}.requires_grad_({scene.pick(['', 'False'])})")


# ---- reading


def read(scene: Scene) -> None:
    name = scene.tensor()
    other = scene.tensor()
    scene.add(
        scene.pick(
            [
                f"out({name}.cpu())",
                f"out({name}.tolist())",
                f"out({name}.sum().item())",
                f"out(bool(({name} == {name}).all()))",
                f"out(torch.equal({name}, {other}))",
                f"out(torch.allclose({name}, {name}))",
                f"out(len({name}))",
                f"out({name}.detach().to('cpu', torch.float64))",
                f"out([x.shape for x in {name}.tensor_split(2)])",
                f"out(float({name}))",
                f"out({name}.is_set_to({other}))",
                f"out(torch.empty(3, 3).copy_({name}))",
                f"{name}.copy_(data({tuple(scene[name].shape)}, torch.float32, 5))",
            ]
        )
    )


STEPS: tuple[Step, ...] = (
    view, view, view, view, write, write, write, write, binary, binary, unary, create, reduce,
    arrange, convert, ternary, contract, network, backward, backward, leaf, data_dependent,
    write_out, reshape_storage, make_like, read, read,
)  # fmt: skip
