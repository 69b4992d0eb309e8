"""GPT-2 (Radford et al. 2019) as a PyTorch module, with Hugging Face's names for its parts."""

import math

import torch
from torch import nn
from torch.nn import functional


class Linear(nn.Linear):
    def forward(self, x, matmul):
        rows = x.reshape(-1, self.in_features)
        return (matmul(rows, self.weight.T) + self.bias).view(*x.shape[:-1], self.out_features)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = Linear(width, 3 * width)
        self.c_proj = Linear(width, width)

    def forward(self, x, mask, matmul):
        """x: [batch, positions, width]; mask: [positions, positions] -> [batch, positions, width]"""
        batch, positions, width = x.shape
        head_size = width // self.heads
        queries, keys, values = (
            part.view(batch, positions, self.heads, head_size).transpose(1, 2).flatten(0, 1)
            for part in self.c_attn(x, matmul).split(width, dim=2)
        )
        scores = matmul(queries / math.sqrt(head_size), keys.transpose(1, 2)) + mask
        attended = matmul(torch.softmax(scores, dim=2), values)
        heads = attended.view(batch, self.heads, positions, head_size).transpose(1, 2)
        return self.c_proj(heads.reshape(batch, positions, width), matmul)


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = Linear(width, 4 * width)
        self.c_proj = Linear(4 * width, width)

    def forward(self, x, matmul):
        return self.c_proj(functional.gelu(self.c_fc(x, matmul), approximate="tanh"), matmul)


class Block(nn.Module):
    def __init__(self, width, heads, drop_rate):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x, mask, matmul):
        x = x + self.drop(self.attn(self.ln_1(x), mask, matmul))
        return x + self.drop(self.mlp(self.ln_2(x), matmul))


class Gpt2(nn.Module):
    """GPT-2 up to the final norm. The embedding `wte` is also the head."""

    def __init__(self, tokens, context, width, heads, layers, drop_rate):
        super().__init__()
        self.wte = nn.Embedding(tokens, width)
        self.wpe = nn.Embedding(context, width)
        self.drop = nn.Dropout(drop_rate)
        self.h = nn.ModuleList(Block(width, heads, drop_rate) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        mask = torch.full((context, context), -math.inf).triu(1)
        self.register_buffer("mask", mask, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # Projections into the residual stream are scaled by the number of residual layers (section 2.3).
                scale = math.sqrt(2 * layers) if name.endswith("c_proj.weight") else 1
                nn.init.normal_(parameter, std=0.02 / scale)
            elif name.endswith(".bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens, matmul=torch.matmul):
        """tokens: [batch, positions] -> hidden states: [batch, positions, width]"""
        return self.layers(self.wte(tokens), matmul)

    def layers(self, embedded, matmul=torch.matmul):
        """embedded: [batch, positions, width], without position embeddings -> hidden states: the same shape"""
        positions = embedded.shape[1]
        x = self.drop(embedded + self.wpe.weight[:positions])
        for block in self.h:
            x = block(x, self.mask[:positions, :positions], matmul)
        return self.ln_f(x)
