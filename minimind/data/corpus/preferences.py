"""Preference pairs: the same request answered well and badly (a wrong fact, the wrong subject, a loop)."""

from minimind.data.corpus.dialogues import WRITERS, Exchange
from minimind.data.corpus.world import Choice


def prefer(choice: Choice) -> tuple[Exchange, str]:
    """An exchange and one bad answer to its request, different from the good one."""
    while True:
        exchange = choice.pick(WRITERS)(choice)[0]
        wrong = [answer for answer in exchange.wrong if answer != exchange.answer]
        if wrong:
            return exchange, choice.pick(wrong)
