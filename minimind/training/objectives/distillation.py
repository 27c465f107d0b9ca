"""White-box distillation: learn from what a trained teacher holds likely, not only from what the text says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minimind.data.packing import Batch
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.interop.opening import open_any
from minimind.model.locate import locate_model
from minimind.model.transformer import MiniMind
from minimind.safe_text import clean_line
from minimind.training.distance import summed_distances
from minimind.training.evaluate import held_out
from minimind.training.frozen import frozen_copy
from minimind.training.loss import balanced, packed_hidden
from minimind.training.objective import Setting
from minimind.training.objectives.sft import FineTune


class Distillation(FineTune):
    """α · CE + (1-α) · T² · KL(teacher at T ‖ student at T), the mean over the tokens that an assistant wrote.

    The teacher's probabilities of all the other tokens say more about a text than its one token does. T² makes up for
    the gradient of the second part, which shrinks as 1/T². The held-out loss is the cross-entropy alone, so that it
    compares with that of fine-tuning.
    Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2.
    """

    def prepare(self, setting: Setting) -> None:
        """Open the teacher. Raises UserError where there is no such model, or it reads other tokens than the student."""
        config = setting.config
        self._alpha, self._temperature = config.distill_alpha, config.distill_temperature
        name = str(config.teacher)
        teacher, tokenizer, _ = open_any(locate_model(name))
        _refuse_other_tokens(name, teacher, tokenizer, setting)
        self._teacher = frozen_copy(teacher, setting.precision)

    def loss(self, model: MiniMind, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The mixture, and its two parts: ``ce_loss`` and ``distill_loss`` (with its T²), in nats a token."""
        with torch.no_grad():
            taught = packed_hidden(self._teacher, batch)  # [batch, time, teacher's hidden]
        hidden = packed_hidden(model, batch)  # [batch, time, hidden]
        weights = (model.lm_head.weight, self._teacher.lm_head.weight)  # 2 × [vocabulary, its hidden]
        sums = summed_distances((hidden, taught), weights, batch.labels, self._alpha, self._temperature)
        count = self.weight(batch) or 1.0
        loss = sums.mixed / count  # []
        scalars = {"loss": loss, "ce_loss": sums.cross_entropy / count, "distill_loss": sums.divergence / count}
        return balanced(model, loss, {name: float(value.detach()) for name, value in scalars.items()})

    def evaluate(self, model: MiniMind, batches: Sequence[Batch]) -> dict[str, float]:
        """The cross-entropy on held-out text, as in fine-tuning."""
        result = held_out(model, FineTune(), batches)
        return {"validation_loss": result.loss, "validation_bits_per_byte": result.bits_per_byte}


def _refuse_other_tokens(name: str, teacher: MiniMind, tokenizer: Tokenizer, setting: Setting) -> None:
    """Raise UserError unless teacher and student mean the same by every number of a token."""
    same = tokenizer.sha256 == setting.tokenizer.sha256
    if same and teacher.config.vocab_size == setting.model.config.vocab_size:
        return
    shown = clean_line(name, 200)
    sizes = f"{teacher.config.vocab_size} / {setting.model.config.vocab_size}"
    raise UserError(
        f"teacher = {shown} has another tokenizer than the student (vocabularies of {sizes}): name one with the same",
        f"teacher = {shown} 与学生模型的词表不同（词表大小 {sizes}）：请换用词表相同的模型",
    )


objective = Distillation
