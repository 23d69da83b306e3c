"""Programs that once did something else on the device than on the CPU, as they were found."""

from __future__ import annotations

import pytest
import torch
from property import lockstep

CHANNELS_LAST = ".to(dev).to(memory_format=torch.channels_last)"

FOUND = {
    "foreach counts writes": (
        "t0 = data((3,), torch.float32, 0).to(dev)",
        "t1 = t0[1:]",
        "torch._foreach_mul_([t1], 2.0)",
        "torch._foreach_add_([t0, t0], [t1[:1], t1[1:]])",
    ),
    "foreach spoils what backward needs": (
        "t0 = data((3,), torch.float32, 0).to(dev).requires_grad_()",
        "t1 = t0.exp()",
        "t2 = t1 * t1",
        "torch._foreach_mul_([t1.detach()], 2.0)",
        "t2.sum().backward()",
    ),
    "an out that is resized leaves its twins alone": (
        "t0 = data((1,), torch.float64, 3).to(dev)",
        "t1 = t0.permute([0])",
        "t2 = t0 + 1",
        "torch.cat([t2, t2], 0, out=t0)",
        "t3 = t1 * t2",
    ),
    "an iterator's strides": (
        f"t0 = data((3, 3, 2, 3), torch.complex64, 1){CHANNELS_LAST}",
        "t1 = torch.zeros((0,), dtype=torch.complex64, device=dev)",
        "torch.mul(t0, 2, out=t1)",
        "t2 = t0.angle()",
        "t3 = torch.zeros((2, 3, 4), device=dev).transpose(0, 2).ge(1)",
    ),
    "strides of a roll": (
        f"t0 = data((3, 2, 4, 4), torch.bool, 6){CHANNELS_LAST}",
        "t1 = t0.roll(1, 3)",
        "t2 = t0.rot90()",
    ),
    "arange keeps an out's shape": (
        "t0 = torch.zeros((2, 2), dtype=torch.float64, device=dev)",
        "torch.arange(4, out=t0)",
        "torch.linspace(0, 1, 4, out=t0)",
    ),
    "outs of a list that are resized": (
        "t0 = data((4, 2), torch.float32, 5).to(dev)",
        "t1 = torch.empty(0, device=dev)",
        "t2 = torch.empty(0, device=dev)",
        "torch.ops.aten._histogramdd_bin_edges.out(t0, [2, 3], out=[t1, t2])",
    ),
    "a cat follows its inputs' format": (
        f"t0 = data((3, 3, 3, 3), torch.float32, 0){CHANNELS_LAST}",
        "t1 = torch.zeros_like(t0)",
        "torch.cat([t0, t0], 0, out=t1)",
    ),
    "an index into channels_last": (
        f"t0 = data((4, 2, 2, 2), torch.float32, 9){CHANNELS_LAST}",
        "t1 = t0[torch.tensor([[0, 1], [1, 0]], device=dev)]",
        "t2 = torch.zeros(0, device=dev)",
        "torch.where(t0 > 0, t0, t0, out=t2)",
    ),
    "dtypes of bools and scalars": (
        "t0 = data((4,), torch.bool, 5).to(dev)",
        "t1 = t0 ** True",
        "t2 = torch.zeros((), dtype=torch.float64, device=dev).norm(dim=0, keepdim=True)",
        "t3 = torch.block_diag(t2, data((0,), torch.complex64, 9).to(dev))",
    ),
    "zeros without memory": (
        "t0 = torch._efficientzerotensor((2, 3), device=dev)",
        "out(t0.cpu() + 1)",
    ),
    "set_ keeps strides where the size stays": (
        "t0 = data((4,), torch.float64, 7).to(dev)",
        "t1 = torch.zeros((1,), dtype=torch.float64, device=dev).expand(4)",
        "t1.set_(t0.untyped_storage())",
    ),
    "set_ looks whether the storage suffices": (
        "t0 = data((4,), torch.float64, 7).to(dev)",
        "t2 = t0[:2]",
        "t2.set_(t2.untyped_storage(), 3, (2,), (1,))",
    ),
    "statistics of a bfloat16 layer norm": (
        "t0 = data((2, 2), torch.bfloat16, 2).to(dev).requires_grad_()",
        "t1 = F.layer_norm(t0, (2,))",
        "t2 = F.group_norm(t1.reshape(2, 2, 1), 1)",
        "t2.sum().backward()",
    ),
    "unfolding a scalar": (
        "t0 = data((), torch.complex64, 3).to(dev).requires_grad_()",
        "t1 = torch.autograd.grad(t0.unfold(-1, 0, 1).abs().sum(), t0)[0]",
    ),
    "composite ops that read memory": (
        "t0 = data((4, 4), torch.float32, 3).to(dev)",
        "t1 = torch._saturate_weight_to_fp16(t0 * 1e5)",
        "t2, t3 = torch.choose_qparams_optimized(t0, 16, 200, 0.16, 8)",
    ),
    "index_put_ of another tensor at the same place": (
        "t0 = data((2, 3), torch.float32, 1).to(dev)",
        "t1 = t0[:, ::2]",
        "t2 = t0[:, ::2]",
        "t1.index_put_((torch.tensor([1, 0], device=dev),), t2)",
        "out(t0.cpu())",
    ),
    "index_put_ of the tensor itself": (
        "t0 = data((2, 3), torch.int64, 1).to(dev)",
        "t1 = t0[:, ::2]",
        "t1.index_put_((torch.tensor([1, 0], device=dev),), t1)",
        "out(t0.cpu())",
    ),
    "an out that is another tensor at its input's place": (
        "t0 = data((1,), torch.float32, 3).to(dev)",
        "t1 = t0.detach()",
        "t2 = data((3,), torch.float32, 4).to(dev)",
        "torch.add(t1, t2, out=t0)",
    ),
    "an out that is its input": (
        "t0 = data((1,), torch.float32, 3).to(dev)",
        "t2 = data((3,), torch.float32, 4).to(dev)",
        "torch.add(t0, t2, out=t0)",
    ),
    "an empty out at its input's place": (
        "t0 = data((0,), torch.bool, 0).to(dev)",
        "t1 = t0[:2]",
        "torch.clamp(t0, 0, out=t1)",
    ),
    "magnitudes of complex channels_last": (
        f"t0 = data((1, 4, 2, 4), torch.complex64, 8){CHANNELS_LAST}",
        "t1 = t0.abs()",
        "t2 = t0.angle()",
    ),
    "a loss of two dtypes": (
        "t0 = data((2, 1, 3), torch.bfloat16, 1).to(dev)",
        f"t1 = data((2, 2, 3, 3), torch.int64, 4){CHANNELS_LAST}",
        "t2 = F.mse_loss(t0, t1, reduction='none')",
        "t3 = F.smooth_l1_loss(t0, t1.to(torch.bfloat16), reduction='none')",
        "t4 = F.huber_loss(t0, t1.to(torch.bfloat16), reduction='none')",
    ),
    "a stride of one place": (
        "t0 = data((1, 2), torch.complex64, 1).to(dev)[:2, 1:3].conj_physical()",
        f"t1 = data((1, 1, 4, 2), torch.float64, 2){CHANNELS_LAST}[..., 2:, :3]",
        "t2 = t1.logical_not()",
        f"t3 = data((1, 4, 1, 1), torch.float32, 7){CHANNELS_LAST}",
        "t4 = torch.logical_and(t3.contiguous(), t3)",
        f"t5 = data((4, 1, 3, 3), torch.bool, 6){CHANNELS_LAST}.diag_embed()",
        "t6 = data((3,), torch.float32, 1).to(dev).nonzero()",
        "t7 = t6.tril()",
        "t8 = t6.sort(0)[0]",
        "t9 = data((2,), torch.int64, 1).to(dev).unfold(0, 1, 2).deg2rad()",
        "t10 = data((2, 1), torch.bool, 8).to(dev).permute([1, 0]).flip(1)",
        "t11 = data((3, 1, 3), torch.float32, 0).to(dev).select(0, 0).transpose(0, 1)[0:]",
        "t12 = t11.masked_fill(t11 > 0, 2)",
        f"t13 = data((2, 1, 3, 4), torch.float32, 3){CHANNELS_LAST}",
        "t14 = F.layer_norm(t13, (4,))",
        f"t15 = 3 ** data((1, 2, 2, 1), torch.float32, 4){CHANNELS_LAST}",
    ),
    "strides of what is empty": (
        "t0 = data((1, 1, 0, 2), torch.int64, 2).to(dev)",
        "t1 = t0.amax(dim=1, keepdim=True)",
        f"t2 = data((3, 0, 2, 3), torch.float32, 9){CHANNELS_LAST}.sort(-4)[0]",
        "t3 = data((1, 4, 3), torch.int64, 0).to(dev)[t0.new_zeros((3, 0, 1))]",
        f"t4 = data((1, 2, 3, 0), torch.complex64, 1){CHANNELS_LAST}.nan_to_num()",
    ),
    "a kernel's error before the next op's": (
        "t0 = data((), torch.complex64, 5).to(dev)",
        "t1 = torch.take_along_dim(t0, t0.argsort(0), 0)",
    ),
}


def set_is_checked() -> bool:
    whole = torch.zeros(4)
    part = whole[:2]
    try:
        part.set_(whole.untyped_storage(), 3, (2,), (1,))
    except RuntimeError:
        return True
    return False


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str, device: torch.device) -> None:
    if "set_ looks" in name and not set_is_checked():
        pytest.skip("this torch's set_ leaves a CPU tensor past the end of its storage")
    lockstep.run(list(FOUND[name]), device)


def test_a_difference_is_seen(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("a rehearsal has none")
    with pytest.raises(lockstep.Difference, match="read .remote_accelerator., not .cpu."):
        lockstep.run(["t1 = dev.type", "out(t1)"], device)
