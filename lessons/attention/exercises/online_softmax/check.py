"""Cases, reference and mutants of the exercise online softmax."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lessons.checking import Case, Check, Invariant
from minimind.events import Text
from minimind.model.transformer import causal_mask
from minimind.model.variants.cores import install_core

Part = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]
NAMES = ("queries", "keys", "values", "mask")
INSTALLED_TILE = 16


def reference(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, _tile: int) -> Tensor:
    """PyTorch's attention [..., time, head], which needs no tiles for inputs as small as these."""
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


@dataclass(frozen=True)
class Recipe:
    """An implementation in tiles; the defaults are right."""

    shrink_total: bool = True
    shrink_mixed: bool = True
    running: bool = True
    subtract: bool = True
    careful: bool = True
    scaled: bool = True
    masked: bool = True
    whole_tiles_only: bool = False
    normalise_each: bool = False

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, tile: int) -> Tensor:
        largest = torch.full_like(queries[..., :1], -math.inf)  # [..., time, 1]
        total, mixed = torch.zeros_like(largest), torch.zeros_like(queries)  # [..., time, 1], [..., time, head]
        length = keys.shape[-2]
        tiles = 0
        for first in range(0, length - tile + 1 if self.whole_tiles_only else length, tile):
            here = slice(first, first + tile)
            scores = self.scores(queries, keys[..., here, :], mask[..., here])  # [..., time, tile]
            new = scores.amax(-1, keepdim=True)  # [..., time, 1]
            if self.running:
                new = torch.maximum(largest, new)  # [..., time, 1]
            anchor = new.where(new > -math.inf, 0.0) if self.careful else new  # [..., time, 1]
            if not self.subtract:
                anchor, largest = torch.zeros_like(new), torch.zeros_like(new)  # 2 × [..., time, 1]
            shrink, weights = (largest - anchor).exp(), (scores - anchor).exp()  # [..., time, 1], [..., time, tile]
            mean = weights / weights.sum(-1, keepdim=True) if self.normalise_each else weights  # [..., time, tile]
            total = total * (shrink if self.shrink_total else 1) + weights.sum(-1, keepdim=True)  # [..., time, 1]
            mixed = mixed * (shrink if self.shrink_mixed else 1) + mean @ values[..., here, :]  # [..., time, head]
            largest = new
            tiles += 1
        return mixed / (tiles if self.normalise_each else total)  # [..., time, head]

    def scores(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """The scores of a tile [..., time, tile]."""
        scores = queries @ keys.transpose(-2, -1) / (math.sqrt(queries.shape[-1]) if self.scaled else 1.0)
        return scores.masked_fill(~mask, -math.inf) if self.masked else scores


def all_at_once(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, _tile: int) -> Tensor:
    return Recipe().scores(queries, keys, mask).softmax(-1) @ values


def unchanged(queries: Tensor, _keys: Tensor, _values: Tensor, _mask: Tensor, _tile: int) -> Tensor:
    return queries


def run(part: Part, case: Case) -> Tensor:
    """Call the part with the case's tensors and tile."""
    queries, keys, values, mask = (case.inputs[name] for name in NAMES)
    return part(queries, keys, values, mask, case.settings["tile"])


def cases(generator: torch.Generator) -> list[Case]:
    """Tiles that fit, tiles of one, a last tile that is cut short, tiles that allow nothing, and large scores."""

    def draw(time: int, length: int, mask: Tensor, size: float = 1.0) -> dict[str, Tensor]:
        queries, keys, values = (
            torch.randn(2, count, 8, generator=generator) for count in (time, length, length)
        )  # 3 × [batch, count, head]
        return {"queries": queries * size, "keys": keys * size, "values": values, "mask": mask}

    late = causal_mask(6, 12)  # [time, length]
    late[:, :5] = False
    return [
        Case(
            Text("8 keys, all allowed, tiles of 4", "8 个键，全都可看，块宽 4"),
            draw(5, 8, torch.ones(5, 8, dtype=torch.bool)),
            {"tile": 4},
            gradients=True,
        ),
        Case(Text("one key at a time", "每次一个键"), draw(7, 7, causal_mask(7, 7)), {"tile": 1}),
        Case(
            Text("tiles of 3, the last cut short", "块宽 3，最后一块不满"), draw(8, 8, causal_mask(8, 8)), {"tile": 3}
        ),
        Case(
            Text("a first tile that allows nothing", "第一块什么都不准看"),
            draw(6, 12, late),
            {"tile": 4},
            gradients=True,
        ),
        Case(
            Text("scores in the hundreds", "分数上百"),
            draw(6, 16, causal_mask(6, 16), 12.0),
            {"tile": 4},
            relative=1e-3,
            absolute=1e-4,
        ),
        Case(Text("one tile for all", "一块全包"), draw(4, 5, causal_mask(4, 5)), {"tile": 16}),
    ]


class LargestTensor(TorchFunctionMode):
    """Remembers the size of the largest tensor that any call made."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for item in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(item, Tensor):
                self.count = max(self.count, item.numel())
        return result


def holds_no_whole_row(part: Part, generator: torch.Generator) -> bool:
    """With 64 queries, 64 keys and tiles of 4 no tensor of 64 × 64 numbers is made."""
    queries, keys, values = torch.randn(3, 64, 8, generator=generator).unbind()  # 3 × [time, head]
    mask = causal_mask(64, 64)
    with LargestTensor() as watch:
        part(queries, keys, values, mask, 4)
    return bool(watch.count < 64 * 64)


CHECK = Check(
    part="tiled_attention",
    parameters=(*NAMES, "tile"),
    axes=("batch", "time", "head"),
    cases=cases,
    run=run,
    reference=reference,
    mutants={
        "unchanged": unchanged,
        "nothing_rescaled": Recipe(shrink_total=False, shrink_mixed=False),
        "only_total_rescaled": Recipe(shrink_mixed=False),
        "only_result_rescaled": Recipe(shrink_total=False),
        "maximum_reset": Recipe(running=False),
        "maximum_not_subtracted": Recipe(subtract=False),
        "nan_where_nothing_allowed": Recipe(careful=False),
        "not_scaled": Recipe(scaled=False),
        "ignores_mask": Recipe(masked=False),
        "last_tile_dropped": Recipe(whole_tiles_only=True),
        "tiles_averaged": Recipe(normalise_each=True),
        "all_at_once": all_at_once,
    },
    invariants=(
        Invariant(
            Text("all scores of all keys are held at once", "同时存下了所有键的所有分数"),
            holds_no_whole_row,
        ),
    ),
    install=lambda model, part: install_core(model, lambda *tensors: part(*tensors, INSTALLED_TILE)),
)
