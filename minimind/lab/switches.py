"""Every switch of a small model in one place: what can be set, what it is called, and what differs between two settings.

No torch at import: the block diagram shows the switches before anything is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args, get_type_hints

from minimind.errors import UserError
from minimind.events import Text
from minimind.model.variants.arrangement import Arrangement, NormPlace, Order, Residual

if TYPE_CHECKING:
    from minimind.lab.tiny import Size
    from minimind.model.transformer import MiniMind

Answer = Literal["yes", "no"]
Value = str | int


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch for people: what it is called, what it does, and its choices with their names."""

    name: str
    label: Text
    help: Text
    choices: Mapping[Value, Text]


@dataclass(frozen=True, kw_only=True)
class Switches:
    """How a network is put together; the defaults are the small models of the course, built as the released ones.

    Raises UserError for a combination that no network can have.
    """

    positions: Literal["rotary", "none", "learned", "sinusoidal", "alibi"] = "rotary"
    norm: Literal["rms", "layer", "none"] = "rms"
    norm_place: NormPlace = "pre"
    residual: Residual = "both"
    order: Order = "attention_first"
    attention: Answer = "yes"
    heads: Literal[1, 2, 4, 8] = 4
    kv_heads: Literal[1, 2, 4, 8] = 4
    mask: Literal["causal", "none"] = "causal"
    scale: Answer = "yes"
    projections: Literal["separate", "query_key", "key_value", "all"] = "separate"
    qk_norm: Answer = "no"
    feed_forward: Literal["swiglu", "geglu", "reglu", "silu", "gelu", "relu", "relu2", "linear", "none"] = "swiglu"
    ratio: Literal[1, 2, 4, 8] = 4
    output_scale: Answer = "no"
    tied: Answer = "yes"

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value not in choices_of(name):
                allowed = ", ".join(map(str, choices_of(name)))
                raise UserError(
                    f"switch {name} cannot be {value!r}: use one of {allowed}",
                    f"开关 {name} 不能为 {value!r}：可选 {allowed}",
                )
        if self.heads % self.kv_heads:
            raise UserError(
                f"{self.heads} query heads cannot share {self.kv_heads} key/value heads evenly: take fewer of the latter",
                f"{self.heads} 个查询头无法平均共用 {self.kv_heads} 个键值头：请减少键值头",
            )
        if self.projections in ("query_key", "all") and self.heads != self.kv_heads:
            raise UserError(
                "queries can share their matrix with keys only where there are as many key/value heads as query heads",
                "只有键值头与查询头一样多时，查询才能与键共用矩阵",
            )
        self.arrangement()

    def arrangement(self) -> Arrangement:
        """How the parts of a block are put together."""
        each = self.residual == "both"
        return Arrangement(
            place=self.norm_place,
            order=self.order,
            attention_skip=each,
            feed_forward_skip=each,
            around=self.residual == "one",
        )

    def apply(self, model: MiniMind) -> None:
        """Set every switch of `model` that is not a field of its config, which must be that of `config_changes`."""
        from minimind.model.variants import attention, blocks, feed_forward, norms, positions

        norms.replace_norms(model, self.norm)
        blocks.arrange(model, lambda _: self.arrangement())
        if self.attention == "no":
            blocks.remove_part(model, "attention")
        feed_forward.set_feed_forward(model, self.feed_forward, self.ratio)
        if self.output_scale == "yes":
            blocks.scale_outputs(model, blocks.depth_scale(model))
        positions.set_positions(model, self.positions)
        attention.set_mask(model, self.mask)
        attention.set_scale(model, self.scale == "yes")
        attention.tie_projections(model, self.projections)

    def config_changes(self) -> dict[str, Value | bool]:
        """The fields of `ModelConfig` that these switches are."""
        return {
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "qk_norm": self.qk_norm == "yes",
            "tie_word_embeddings": self.tied == "yes",
        }

    def build(self, size: Size = "T1", seed: int = 0, layers: int | None = None) -> MiniMind:
        """A model of `size` with these switches and the initial weights of `seed`."""
        from minimind.lab.tiny import tiny_model

        depth = {} if layers is None else {"num_hidden_layers": layers}
        return tiny_model(size, seed=seed, change=self.apply, **self.config_changes(), **depth)


def choices_of(name: str) -> tuple[Value, ...]:
    """The values a switch can have, the default among them. Raises KeyError for a switch there is not."""
    return get_args(_types()[name])


@cache
def _types() -> dict[str, object]:
    return get_type_hints(Switches)


def difference(first: Switches, second: Switches) -> dict[str, tuple[Value, Value]]:
    """The switches whose values differ, each with both values."""
    a, b = asdict(first), asdict(second)
    return {name: (a[name], b[name]) for name in a if a[name] != b[name]}


def names() -> tuple[str, ...]:
    """Every switch, from the input of the network to its output."""
    return tuple(field.name for field in fields(Switches))


_ANSWERS: dict[Value, Text] = {"yes": Text("yes", "有"), "no": Text("no", "无")}
_NUMBERS: dict[Value, Text] = {n: Text(str(n), str(n)) for n in (1, 2, 4, 8)}


def _switch(name: str, label: Text, help_text: Text, choices: Mapping[Value, Text]) -> Switch:
    return Switch(name, label, help_text, {value: choices[value] for value in choices_of(name)})


SWITCHES: dict[str, Switch] = {
    switch.name: switch
    for switch in (
        _switch(
            "positions",
            Text("positions", "位置"),
            Text("how the network knows where a token stands", "网络怎样知道词元在哪里"),
            {
                "rotary": Text("RoPE", "RoPE"),
                "none": Text("none", "无"),
                "learned": Text("learned", "可学习"),
                "sinusoidal": Text("sinusoids", "正弦"),
                "alibi": Text("ALiBi", "ALiBi"),
            },
        ),
        _switch(
            "norm",
            Text("norm", "归一化"),
            Text("what keeps the size of activations in bounds", "用什么约束激活值的大小"),
            {"rms": Text("RMSNorm", "RMSNorm"), "layer": Text("LayerNorm", "LayerNorm"), "none": Text("none", "无")},
        ),
        _switch(
            "norm_place",
            Text("place", "归一化位置"),
            Text(
                "before each part, after each addition, or before and after each part",
                "放在各部件之前、相加之后，或部件前后都放",
            ),
            {
                "pre": Text("before", "前"),
                "post": Text("after adding", "相加之后"),
                "sandwich": Text("before and after", "前后都有"),
            },
        ),
        _switch(
            "residual",
            Text("residual", "残差"),
            Text(
                "whether what comes in is added to what goes out: around each part, around both together, nowhere",
                "输入是否加到输出上：绕过每个部件、一起绕过两个部件，或都不加",
            ),
            {
                "both": Text("around each", "各绕一次"),
                "none": Text("none", "无"),
                "one": Text("one around both", "共绕一次"),
            },
        ),
        _switch(
            "order",
            Text("order", "顺序"),
            Text("which part comes first", "哪个部件在先"),
            {
                "attention_first": Text("attention first", "注意力在先"),
                "feed_forward_first": Text("feed-forward first", "前馈在先"),
                "parallel": Text("parallel", "并行"),
                "sandwich": Text("attentions low, feed-forwards high", "注意力在下、前馈在上"),
            },
        ),
        _switch(
            "attention",
            Text("attention", "注意力"),
            Text("the only part in which positions hear of each other", "位置之间唯一互通消息的部件"),
            _ANSWERS,
        ),
        _switch("heads", Text("heads", "头数"), Text("query heads", "查询头的个数"), _NUMBERS),
        _switch(
            "kv_heads",
            Text("key/value heads", "键值头"),
            Text("how many key/value heads the query heads share", "查询头共用多少个键值头"),
            _NUMBERS,
        ),
        _switch(
            "mask",
            Text("mask", "掩码"),
            Text(
                "what a position may look at: itself and what came before, or everything",
                "一个位置能看哪些：自己和之前的，或全部",
            ),
            {"causal": Text("causal", "因果"), "none": Text("none", "无")},
        ),
        _switch(
            "scale",
            Text("scale by 1/√d", "按 1/√d 缩放"),
            Text("whether scores are divided by the root of the head's width", "打分是否除以头宽度的平方根"),
            _ANSWERS,
        ),
        _switch(
            "projections",
            Text("Q, K, V", "Q、K、V"),
            Text("which of queries, keys and values share a matrix", "查询、键、值哪些共用矩阵"),
            {
                "separate": Text("separate", "各自独立"),
                "query_key": Text("Q = K", "Q = K"),
                "key_value": Text("K = V", "K = V"),
                "all": Text("Q = K = V", "Q = K = V"),
            },
        ),
        _switch(
            "qk_norm",
            Text("QK-norm", "QK-norm"),
            Text("a norm on queries and keys, as in minimind-3", "对查询和键做归一化，minimind-3 就是如此"),
            _ANSWERS,
        ),
        _switch(
            "feed_forward",
            Text("feed-forward", "前馈"),
            Text("what happens between its matrices; the GLU kinds have a gate", "矩阵之间做什么；GLU 类带门控"),
            {
                "swiglu": Text("SwiGLU", "SwiGLU"),
                "geglu": Text("GeGLU", "GeGLU"),
                "reglu": Text("ReGLU", "ReGLU"),
                "silu": Text("SiLU", "SiLU"),
                "gelu": Text("GELU", "GELU"),
                "relu": Text("ReLU", "ReLU"),
                "relu2": Text("ReLU²", "ReLU²"),
                "linear": Text("no activation", "无激活"),
                "none": Text("none", "无"),
            },
        ),
        _switch(
            "ratio",
            Text("width ×", "宽度 ×"),
            Text(
                "how many times wider than the stream it is (GLU kinds: two thirds of that)",
                "比残差流宽多少倍（GLU 类取其三分之二）",
            ),
            _NUMBERS,
        ),
        _switch(
            "output_scale",
            Text("1/√(2L) at the start", "初始乘 1/√(2L)"),
            Text(
                "whether the matrices that write into the stream start smaller in deep networks",
                "写入残差流的矩阵，初始值是否随深度缩小",
            ),
            _ANSWERS,
        ),
        _switch(
            "tied",
            Text("tied to the embedding", "与嵌入共用"),
            Text("whether the output layer is the embedding itself", "输出层是否就是嵌入矩阵"),
            _ANSWERS,
        ),
    )
}
