"""The whole language model: from token ids to scores, and the loss of a text."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind.config import ModelConfig
from minimind.model.cache import Cache
from minimind.model.transformer import (
    Block,
    RMSNorm,
    rotary_frequencies,
    rotary_table,
)


class CausalLM(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        blocks = [Block(config) for _ in range(config.num_hidden_layers)]
        self.layers = nn.ModuleList(blocks)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        # hole: pass
        # 1. lm_head and embed_tokens share one and the same weight
        # 2. every Linear and Embedding starts from a normal
        #    distribution with standard deviation 0.02
        self.lm_head.weight = self.embed_tokens.weight
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        # end hole

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Scores [batch, time, vocabulary] for tokens [batch, time]."""
        past = 0 if cache is None else cache.length
        time = tokens.shape[1]
        # hole: return self.lm_head(self.embed_tokens(tokens))
        # 1. positions [1, time] go on from what the cache holds
        # 2. rotary_table(positions, rotary_frequencies(head_size, rope_theta))
        # 3. block(x, rotary, None, the block's own cache.layers[index])
        # 4. cache.advance(time), the last norm, lm_head
        positions = torch.arange(past, past + time)[None]  # [1, time]
        size, theta = self.config.head_size, self.config.rope_theta
        rotary = rotary_table(positions, rotary_frequencies(size, theta))
        x = self.embed_tokens(tokens)  # [batch, time, hidden]
        for index, block in enumerate(self.layers):
            layer = None if cache is None else cache.layers[index]
            x = block(x, rotary, None, layer)  # [batch, time, hidden]
        if cache is not None:
            cache.advance(time)
        scores: Tensor = self.lm_head(self.norm(x))
        return scores  # [batch, time, vocabulary]
        # end hole

    def loss(self, tokens: Tensor) -> Tensor:
        """Mean of -log p(next token) over tokens [batch, time]; a scalar."""
        logits = self(tokens)  # [batch, time, vocabulary]
        # hole: return logits.mean()
        # position t predicts token t + 1, and the last position has
        # nothing to predict; F.cross_entropy wants [count, vocabulary]
        # and [count]
        predicted = logits[:, :-1].flatten(0, 1)  # [count, vocabulary]
        following = tokens[:, 1:].flatten()  # [count]
        return F.cross_entropy(predicted, following)
        # end hole
