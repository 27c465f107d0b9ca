"""Guessing ahead changes the speed and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from minimind.config import SampleConfig
from minimind.errors import UserError
from minimind.inference.engine import Engine
from minimind.inference.speculative import DRAFTS, DraftModel, PromptLookup
from minimind.inference.writing import Draft, accept_or_replace
from tests.minimind.tiny import tiny_model, tiny_tokenizer

GREEDY = SampleConfig(temperature=0, max_new_tokens=30)
REPEATED = [1, 60, 70, 80, 90, 60, 70, 80, 90, 60, 70]


class Scripted:
    """Guesses what it is told, right or wrong."""

    def __init__(self, truth: Sequence[int], mistakes: int) -> None:
        self.truth, self.mistakes, self.asked = list(truth), mistakes, 0

    def propose(
        self, tokens: Sequence[int], most: int, config: SampleConfig, generator: torch.Generator
    ) -> list[Draft]:
        self.asked += 1
        guesses = self.truth[len(tokens) : len(tokens) + most]
        if self.mistakes and len(guesses) > self.mistakes:
            guesses[self.mistakes] = (guesses[self.mistakes] + 1) % 320
        return [Draft(token) for token in guesses]


def engine_of(native: bool, seed: int = 0) -> Engine:
    engine = Engine(tiny_model(seed), tiny_tokenizer())
    engine.stop_ids = frozenset()
    if native:
        assert engine.use_native("float32") is None
    return engine


def ids(engine: Engine, prompt: list[int], config: SampleConfig) -> list[int]:
    return [token.id for token in engine.generate(prompt, config) if token.id is not None]


@pytest.mark.parametrize("native", [False, True])
def test_greedy_tokens_are_identical_whoever_guesses(native: bool) -> None:
    engine = engine_of(native)
    for prompt in (REPEATED, [1, 60], [1, *range(40, 70)]):
        engine.proposer = None
        plain = ids(engine, prompt, GREEDY)
        for proposer in (
            PromptLookup(),
            DraftModel(engine_of(native, seed=1), engine),
            Scripted([*prompt, *plain], 0),
            Scripted([*prompt, *plain], 2),
        ):
            engine.proposer = proposer
            engine.forget()
            assert ids(engine, prompt, GREEDY) == plain
            assert ids(engine, prompt, GREEDY) == plain  # with the keys and values of the first time
    engine.forget()
    assert engine.accepted < engine.drafted


def test_right_guesses_save_steps() -> None:
    engine = engine_of(True)
    plain = ids(engine, REPEATED, GREEDY)
    engine.proposer = oracle = Scripted([*REPEATED, *plain], 0)
    assert ids(engine, REPEATED, GREEDY) == plain
    assert engine.accepted == engine.drafted > 20
    assert oracle.asked == -(-29 // (DRAFTS + 1))
    engine.proposer = DraftModel(engine_of(True), engine)  # the very same model
    assert ids(engine, REPEATED, GREEDY) == plain
    assert engine.accepted == engine.drafted > 20


def test_a_seed_gives_the_same_text_with_lookup_as_without() -> None:
    engine = engine_of(True)
    config = SampleConfig(temperature=1.0, top_p=1.0, seed=5, max_new_tokens=30)
    plain = ids(engine, REPEATED, config)
    engine.proposer = PromptLookup()
    assert ids(engine, REPEATED, config) == plain


def test_lookup_guesses_what_followed_the_latest_occurrence() -> None:
    def guess(tokens: list[int]) -> list[int]:
        return [draft.token for draft in lookup.propose(tokens, 3, GREEDY, torch.Generator())]

    lookup = PromptLookup()
    assert guess([1, 2, 3]) == []
    assert guess([1, 2, 3, 4, 5, 1, 2]) == [3, 4, 5]
    assert guess([1, 2, 3, 4, 5, 1, 2, 9, 1, 2]) == [9, 1, 2]
    assert guess([1, 2, 3, 4, 5, 1, 2, 9, 1, 2, 3]) == [4, 5, 1]
    assert guess([7, 7, 7]) == [7]
    assert guess([4]) == []


def test_drawn_tokens_have_the_targets_distribution() -> None:
    """χ² of 20,000 draws, with guesses from another distribution; 5 degrees of freedom, the 0.1 % point is 20.5."""
    target = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05, 0.0])
    guess = torch.tensor([0.05, 0.3, 0.05, 0.2, 0.1, 0.3])
    generator = torch.Generator().manual_seed(0)
    counts, kept, draws = torch.zeros(6), 0, 20_000
    for draft in torch.multinomial(guess, draws, replacement=True, generator=generator).tolist():
        drawn = accept_or_replace(target, guess, draft, generator)
        counts[drawn] += 1
        kept += drawn == draft
    expected = target * draws
    assert counts[5] == 0
    assert float(((counts - expected)[:5].square() / expected[:5]).sum()) < 20.5
    # Accepted is Σ min(target, guess); a replacement is never the guess itself.
    assert kept / draws == pytest.approx(float(torch.minimum(target, guess).sum()), abs=0.015)


def test_a_whole_engine_with_a_draft_model_draws_from_the_models_distribution() -> None:
    """The second of two tokens is the one that was guessed: χ² over the tokens that are likely enough to count."""
    engine = engine_of(True)
    draft = engine_of(True, seed=1)
    config = SampleConfig(temperature=1.0, top_k=6, top_p=1.0, max_new_tokens=2)
    first = [1, 60, 70]
    pairs: dict[tuple[int, int], int] = {}
    engine.proposer = DraftModel(draft, engine)
    draws = 1500
    for _ in range(draws):
        one, two = ids(engine, first, config)
        pairs[one, two] = pairs.get((one, two), 0) + 1
    statistic, cells = 0.0, 0
    probabilities = engine.scores(first).topk(6)
    for one, share in zip(probabilities.indices.tolist(), probabilities.values.softmax(0).tolist(), strict=True):
        after = engine.scores([*first, one]).topk(6)
        for two, chance in zip(after.indices.tolist(), after.values.softmax(0).tolist(), strict=True):
            wanted = draws * share * chance
            if wanted >= 5:
                statistic += (pairs.get((one, two), 0) - wanted) ** 2 / wanted
                cells += 1
    assert cells > 5
    assert statistic < cells + 4 * (2 * cells) ** 0.5  # mean + 4 standard deviations of χ²


def test_a_draft_model_must_share_the_tokenizer() -> None:
    from minimind.data.tokenizer import Tokenizer

    other = Engine(tiny_model(vocab_size=2048), Tokenizer.load("nano-2048"))
    with pytest.raises(UserError, match="another tokenizer"):
        DraftModel(other, engine_of(False))
