"""The Transformer block: two parts that read a normalised copy of the stream and add to it what they have to say."""

from torch import Tensor, nn

from minimind.config import ModelConfig
from minimind.model.cache import LayerCache
from minimind.model.transformer import Attention, FeedForward, RMSNorm


class Block(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        # Names of a checkpoint: input_layernorm, self_attn, post_attention_layernorm, mlp.
        # hole: pass
        # Make the four parts: RMSNorm(config.hidden_size, config.rms_norm_eps) twice, Attention(config),
        # FeedForward(config).
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
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
        # 1. the attention reads x through the first norm, with rotary, mask and cache; add its output to x
        # 2. the feed-forward reads that sum through the second norm; add its output to the sum
        attended = x + self.self_attn(self.input_layernorm(x), rotary, mask, cache)  # [batch, time, hidden]
        return attended + self.mlp(self.post_attention_layernorm(attended))  # [batch, time, hidden]
        # end hole
