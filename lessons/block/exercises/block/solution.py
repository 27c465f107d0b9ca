"""The Transformer block: attention and feed-forward on one stream."""

from torch import Tensor, nn

from minimind.config import ModelConfig
from minimind.model.cache import LayerCache
from minimind.model.transformer import (
    Attention,
    FeedForward,
    RMSNorm,
)


class Block(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        # The parts have the names they have in a checkpoint:
        # input_layernorm, self_attn, post_attention_layernorm, mlp
        # hole: pass
        # twice RMSNorm(config.hidden_size, config.rms_norm_eps),
        # Attention(config), FeedForward(config)
        size, eps = config.hidden_size, config.rms_norm_eps
        self.input_layernorm = RMSNorm(size, eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(size, eps)
        self.mlp = FeedForward(config)
        # end hole

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Update the residual stream x [batch, time, hidden]."""
        # hole: return x
        # 1. the attention reads x through the first norm, and takes
        #    rotary, mask and cache; add its output to x
        # 2. the feed-forward reads that sum through the second norm;
        #    add its output to the sum
        read = self.input_layernorm(x)  # [batch, time, hidden]
        found = self.self_attn(read, rotary, mask, cache)
        attended = x + found  # [batch, time, hidden]
        read = self.post_attention_layernorm(attended)
        updated: Tensor = attended + self.mlp(read)
        return updated  # [batch, time, hidden]
        # end hole
