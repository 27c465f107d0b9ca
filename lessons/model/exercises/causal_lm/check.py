"""Cases, reference and mutants of the exercise CausalLM."""

import math
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons.checking import Case, Check, Invariant
from minimind.config import ModelConfig
from minimind.events import Text
from minimind.model.cache import Cache
from minimind.model.transformer import Block, MiniMind, RMSNorm, rotary_frequencies, rotary_table

FRESH_WITHIN = 0.15
"""How far the first loss of a fresh model may be from ln V, as a share of it."""


class Reference(nn.Module):
    """The right model. Each mutant below changes one of its steps."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie()
        self.initialise()

    def tie(self) -> None:
        self.lm_head.weight = self.embed_tokens.weight  # [vocabulary, hidden]

    def initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

    def past(self, cache: Cache | None) -> int:
        return 0 if cache is None else cache.length

    def advance(self, cache: Cache | None, time: int) -> None:
        if cache is not None:
            cache.advance(time)

    def scores(self, x: Tensor) -> Tensor:
        result: Tensor = self.lm_head(self.norm(x))  # [batch, time, vocabulary]
        return result

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        past, time = self.past(cache), tokens.shape[1]
        positions = torch.arange(past, past + time)[None]  # [1, time]
        rotary = rotary_table(positions, rotary_frequencies(self.config.head_size, self.config.rope_theta))
        x = self.embed_tokens(tokens)  # [batch, time, hidden]
        for index, block in enumerate(self.layers):
            x = block(x, rotary, None, None if cache is None else cache.layers[index])  # [batch, time, hidden]
        self.advance(cache, time)
        return self.scores(x)  # [batch, time, vocabulary]

    def pairs(self, logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What is compared with what: scores [batch, count, vocabulary] and ids [batch, count]."""
        return logits[:, :-1], tokens[:, 1:]

    def loss(self, tokens: Tensor) -> Tensor:
        predicted, following = self.pairs(self(tokens), tokens)
        return F.cross_entropy(predicted.flatten(0, 1), following.flatten())  # []


class Untouched(Reference):
    def tie(self) -> None:
        pass

    def initialise(self) -> None:
        pass

    def forward(self, tokens: Tensor, _cache: Cache | None = None) -> Tensor:
        result: Tensor = self.lm_head(self.embed_tokens(tokens))  # [batch, time, vocabulary]
        return result

    def loss(self, tokens: Tensor) -> Tensor:
        result: Tensor = self(tokens).mean()  # []
        return result


class TwoMatrices(Reference):
    def tie(self) -> None:
        self.lm_head.weight = nn.Parameter(self.embed_tokens.weight.detach().clone())  # [vocabulary, hidden]


class DefaultInitialisation(Reference):
    def initialise(self) -> None:
        pass


class PositionsRestart(Reference):
    def past(self, _cache: Cache | None) -> int:
        return 0


class CacheNotAdvanced(Reference):
    def advance(self, cache: Cache | None, time: int) -> None:
        pass


class NoLastNorm(Reference):
    def scores(self, x: Tensor) -> Tensor:
        result: Tensor = self.lm_head(x)  # [batch, time, vocabulary]
        return result


class Probabilities(Reference):
    def scores(self, x: Tensor) -> Tensor:
        return super().scores(x).softmax(-1)  # [batch, time, vocabulary]


class NotShifted(Reference):
    def pairs(self, logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return logits, tokens


class ShiftedTwice(Reference):
    def pairs(self, logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return logits[:, :-2], tokens[:, 2:]


class WrapsAround(Reference):
    def pairs(self, logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return logits, tokens.roll(-1, 1)


class SumNotMean(Reference):
    def loss(self, tokens: Tensor) -> Tensor:
        predicted, following = self.pairs(self(tokens), tokens)
        return F.cross_entropy(predicted.flatten(0, 1), following.flatten(), reduction="sum")  # []


def config_of(hidden: int, vocabulary: int, layers: int = 1) -> ModelConfig:
    """Two query heads on one key/value head."""
    return ModelConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=2 * hidden,
        vocab_size=vocabulary,
    )


@cache
def rough_weights(config: ModelConfig, seed: int) -> dict[str, Tensor]:
    """The parameters of a model, far from their small initial values: every part then says something."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name.removeprefix("model."): torch.randn(tensor.shape, generator=generator) * 0.3 + float(tensor.dim() == 1)
        for name, tensor in MiniMind(config).state_dict().items()
    }
    return weights | {"lm_head.weight": weights["embed_tokens.weight"]}


def freshly_built(part: type[nn.Module], config: ModelConfig, seed: int) -> Any:
    """A model as it leaves its constructor; the generator of everybody else is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return part(config)


def run(part: type[nn.Module], case: Case) -> Tensor:
    """Build the part and ask it for scores or a loss; in pieces, through a cache, where the case says so."""
    settings, tokens = case.settings, case.inputs["tokens"]
    config: ModelConfig = settings["config"]
    if settings.get("fresh"):
        fresh: Tensor = freshly_built(part, config, settings["seed"]).loss(tokens)  # []
        return fresh
    model: Any = part(config)
    model.load_state_dict(rough_weights(config, settings["seed"]), strict=True)
    if settings.get("moved"):
        with torch.no_grad():
            model.embed_tokens.weight.mul_(1.5)
    if settings.get("loss"):
        loss: Tensor = model.loss(tokens)  # []
        return loss
    pieces = settings.get("pieces", ())
    if not pieces:
        scores: Tensor = model(tokens)  # [batch, time, vocabulary]
        return scores
    held = Cache(config, tokens.shape[0], tokens.shape[1])
    return torch.cat([model(piece, held) for piece in torch.split(tokens, list(pieces), dim=1)], dim=1)


def cases(generator: torch.Generator) -> list[Case]:
    """Scores; scores after the embedding moved; through a cache; the loss of a text, and that of a fresh model."""

    def draw(name: Text, batch: int, time: int, vocabulary: int, layers: int = 1, **settings: Any) -> Case:
        seed = int(torch.randint(0, 2**31, (), generator=generator))
        tokens = torch.randint(0, vocabulary, (batch, time), generator=generator)  # [batch, time]
        settings = {"config": config_of(16, vocabulary, layers), "seed": seed} | settings
        return Case(name, {"tokens": tokens}, settings)

    fresh = draw(Text("a fresh model's first loss", "刚建好的模型的第一个损失"), 4, 32, 64, fresh=True)
    return [
        draw(Text("a small example", "小例子"), 2, 3, 11, layers=2),
        draw(Text("after training has moved the embedding", "训练改动嵌入之后"), 1, 5, 11, moved=True),
        draw(Text("token by token through a cache", "经缓存逐个词元读入"), 2, 5, 11, pieces=(3, 1, 1)),
        draw(Text("the loss of a text", "一段文本的损失"), 2, 7, 13, loss=True),
        draw(Text("the loss of a longer text", "较长文本的损失"), 1, 16, 13, loss=True),
        Case(fresh.name, fresh.inputs, fresh.settings, relative=FRESH_WITHIN),
    ]


def inspect_part(part: type[nn.Module]) -> Text | None:
    """A checkpoint must fit: the names and shapes of the parameters."""
    config = config_of(8, 10)
    given, wanted = part(config).state_dict(), Reference(config).state_dict()
    for name, tensor in wanted.items():
        if name not in given or given[name].shape != tensor.shape:
            shape = list(tensor.shape)
            return Text(f"there should be a parameter {name} of shape {shape}", f"应有参数 {name}，形状 {shape}")
    return None


def is_one_tensor(part: type[nn.Module], _generator: torch.Generator) -> bool:
    """Embedding and output layer hold the same object, counted once."""
    model: Any = part(config_of(8, 10))
    return model.lm_head.weight is model.embed_tokens.weight


def starts_at_chance(part: type[nn.Module], generator: torch.Generator) -> bool:
    """The first loss is about ln V, for another vocabulary than that of the cases."""
    model = freshly_built(part, config_of(16, 200), int(torch.randint(0, 2**31, (), generator=generator)))
    tokens = torch.randint(0, 200, (4, 32), generator=generator)  # [4, 32]
    return bool(abs(model.loss(tokens).item() / math.log(200) - 1) < FRESH_WITHIN)


def learns_from_its_loss(part: type[nn.Module], generator: torch.Generator) -> bool:
    """The loss has a gradient for every parameter."""
    model: Any = part(config_of(8, 10))
    model.loss(torch.randint(0, 10, (2, 6), generator=generator)).backward()
    return all(parameter.grad is not None for parameter in model.parameters())


CHECK = Check(
    part="CausalLM",
    parameters=("config",),
    axes=("batch", "time", "vocabulary"),
    cases=cases,
    run=run,
    reference=Reference,
    mutants={
        "untouched": Untouched,
        "two_matrices": TwoMatrices,
        "default_initialisation": DefaultInitialisation,
        "positions_restart": PositionsRestart,
        "cache_not_advanced": CacheNotAdvanced,
        "no_last_norm": NoLastNorm,
        "probabilities": Probabilities,
        "not_shifted": NotShifted,
        "shifted_twice": ShiftedTwice,
        "wraps_around": WrapsAround,
        "sum_not_mean": SumNotMean,
    },
    inspect_part=inspect_part,
    invariants=(
        Invariant(
            Text("lm_head.weight is not the embedding's own tensor", "lm_head.weight 不是嵌入的那个张量本身"),
            is_one_tensor,
        ),
        Invariant(Text("a fresh model's loss is not about ln V", "刚建好的模型，损失不约等于 ln V"), starts_at_chance),
        Invariant(Text("some parameters get no gradient", "有的参数得不到梯度"), learns_from_its_loss),
    ),
)
