"""Matrix products in bfloat16 for processors with instructions for it (AMX, AVX512-BF16).

torch.autocast would also convert the other operations to bfloat16, in which PyTorch's CPU kernels are slower.
"""

import torch


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        a, b = a.bfloat16(), b.bfloat16()
        ctx.save_for_backward(a, b)
        return (a @ b).float()

    @staticmethod
    def backward(ctx, gradient):
        a, b = ctx.saved_tensors
        gradient = gradient.bfloat16()
        return (gradient @ b.transpose(-2, -1)).float(), (a.transpose(-2, -1) @ gradient).float()


def matmul(a, b):
    """a: [..., n, k], b: [..., k, m], of the same rank, float32 -> [..., n, m], float32"""
    return Product.apply(a, b)
