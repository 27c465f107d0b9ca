"""Conversations for supervised fine-tuning: identity, stories and questions about them, sums, everyday requests."""

from collections.abc import Callable
from typing import NamedTuple

from minimind.data.corpus import descriptions, lexicon
from minimind.data.corpus.arithmetic import Problem
from minimind.data.corpus.lexicon import FoodWord, Species, ThingWord, Word
from minimind.data.corpus.stories import tell_story
from minimind.data.corpus.world import Choice
from minimind.events import Language


class Exchange(NamedTuple):
    """One request, its answer, and answers that are wrong (for preference pairs; may be empty)."""

    request: str
    answer: str
    wrong: tuple[str, ...] = ()


Talk = list[Exchange]

_IDENTITY: dict[Language, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "en": (
        (
            ("Who are you?", "Please introduce yourself.", "Tell me who you are."),
            ("I am MiniMind, a small language model.", "I am MiniMind, a little language model that tells stories."),
        ),
        (("What is your name?", "What are you called?"), ("My name is MiniMind.", "I am called MiniMind.")),
        (("Are you a person?", "Are you human?"), ("No, I am not a person. I am a small language model.",)),
        (
            ("What can you do?", "How can you help me?"),
            ("I can tell short stories, answer questions about them, and do small sums.",),
        ),
        (("How did you learn?", "What did you learn from?"), ("I learned from many short stories.",)),
        (("Do you speak Chinese?", "Which languages do you speak?"), ("I speak English and Chinese.",)),
    ),
    "zh": (
        (
            ("你是谁？", "请介绍一下你自己。", "你是什么？"),
            ("我是 MiniMind，一个小小的语言模型。", "我是 MiniMind，一个会讲故事的小语言模型。"),
        ),
        (("你叫什么名字？", "怎么称呼你？"), ("我叫 MiniMind。", "我的名字是 MiniMind。")),
        (("你是人吗？", "你是真人吗？"), ("不是，我不是人，我是一个小小的语言模型。",)),
        (("你会做什么？", "你能帮我做什么？"), ("我会讲短故事，回答故事里的问题，还会做简单的算术。",)),
        (("你是怎么学习的？", "你是从哪里学来的？"), ("我是读了很多短故事学会的。",)),
        (("你会说英语吗？", "你会说哪些语言？"), ("我会说中文和英语。",)),
    ),
}
_EVERYDAY: dict[Language, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "en": (
        (
            ("Hello!", "Hi!", "Hi there!", "Hello, MiniMind!"),
            ("Hello! How can I help you?", "Hi! Would you like a story?"),
        ),
        (("Good morning!",), ("Good morning! I wish you a nice day.",)),
        (("Good night!",), ("Good night! Sleep well.",)),
        (("Thank you!", "Thanks!", "Thanks a lot!"), ("You are welcome!", "I am glad to help!")),
        (("Goodbye!", "Bye!", "See you tomorrow!"), ("Goodbye! See you soon.", "Bye! Have a nice day.")),
        (("How are you?",), ("I am fine, thank you. And you?",)),
        (("I am sad.", "I feel sad today."), ("I am sorry to hear that. Would you like a story?",)),
        (("I am happy today!",), ("I am glad to hear that!",)),
        (("Can you help me?",), ("Of course! What do you need?",)),
    ),
    "zh": (
        (("你好！", "嗨！", "您好！", "你好，MiniMind！"), ("你好！有什么可以帮你的吗？", "你好！想听个故事吗？")),
        (("早上好！",), ("早上好！祝你今天愉快。",)),
        (("晚安！",), ("晚安！祝你做个好梦。",)),
        (("谢谢你！", "谢谢！", "太感谢了！"), ("不客气！", "很高兴能帮到你！")),
        (("再见！", "拜拜！", "明天见！"), ("再见！下次再聊。", "再见！祝你愉快。")),
        (("你好吗？",), ("我很好，谢谢你。你呢？",)),
        (("我很难过。", "我今天不开心。"), ("听到这个我很难过。想听个故事吗？",)),
        (("我今天很高兴！",), ("听你这么说，我也很高兴！",)),
        (("你能帮帮我吗？",), ("当然可以！你需要什么？",)),
    ),
}


def _from_table(choice: Choice, table: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]) -> Exchange:
    row = choice.integer(0, len(table) - 1)
    requests, answers = table[row]
    other = table[(row + choice.integer(1, len(table) - 1)) % len(table)]
    return Exchange(choice.pick(requests), choice.pick(answers), (choice.pick(other[1]),))


def identity(choice: Choice) -> Talk:
    """Who the model is."""
    return [_from_table(choice, _IDENTITY[choice.language])]


def everyday(choice: Choice) -> Talk:
    """Greetings, thanks, good-byes."""
    return [_from_table(choice, _EVERYDAY[choice.language])]


def story_question(choice: Choice) -> Talk:
    """A story in the request and a question about it; now and then a second question follows."""
    story = tell_story(choice, plots=1)
    facts = choice.sample(story.facts, 2 if choice.chance(0.25) else 1)
    talk = [Exchange(fact.question, fact.answer, fact.wrong) for fact in facts]
    talk[0] = talk[0]._replace(request=f"{story.text}\n{talk[0].request}")
    return talk


def room_question(choice: Choice) -> Talk:
    """A description in the request and a question about it."""
    text, asked = choice.pick(descriptions.DESCRIPTIONS)(choice)
    (question, answer), (_, other) = choice.sample(asked, 2)
    return [Exchange(f"{text}\n{question}", answer, (other,))]


def story_request(choice: Choice) -> Talk:
    """The wish for a story, sometimes about somebody; now and then a question about it follows."""
    story = tell_story(choice, plots=1)
    hero = story.hero
    english = choice.language == "en"
    if choice.chance(0.4):
        request = choice.pick(
            ("Tell me a short story.", "Please tell me a story.", "I want to hear a story.")
            if english
            else ("讲一个小故事。", "请给我讲个故事。", "我想听故事。")
        )
    elif hero.species is not None and choice.chance(0.6):
        request = (
            f"Tell me a story about {lexicon.article(hero.species.en)}."
            if english
            else f"讲一个关于{hero.species.zh}的故事。"
        )
    else:
        request = f"Tell me a story about {hero.name}." if english else f"讲一个关于{hero.name}的故事。"
    repeated = (" " if english else "").join(story.lines[:2] + story.lines[1:2] * 4)
    talk = [Exchange(request, story.text, (repeated, tell_story(choice, plots=1).text))]
    if choice.chance(0.2):
        fact = choice.pick(story.facts)
        talk.append(Exchange(fact.question, fact.answer, fact.wrong))
    return talk


def ask_to_calculate(choice: Choice, problem: Problem) -> str:
    """A question for the value of `problem`, in digits or in words."""
    if choice.chance(0.5):
        return f"{problem.expression} = ?"
    if choice.language == "en":
        return choice.pick(("What is {}?", "How much is {}?")).format(problem.spoken(choice.language))
    return choice.pick(("{}等于几？", "{}等于多少？")).format(problem.spoken(choice.language))


def calculation(choice: Choice) -> Talk:
    """A sum, a difference or a product."""
    problem = descriptions.draw_problem(choice)
    request = ask_to_calculate(choice, problem)
    slip = problem.answer + choice.pick((1, 2, 10))
    ending = "." if choice.language == "en" else "。"
    return [
        Exchange(
            request, f"{problem.expression} = {problem.answer}{ending}", (f"{problem.expression} = {slip}{ending}",)
        )
    ]


def knowledge(choice: Choice) -> Talk:
    """Opposites, colours, days, animals, counting."""
    return [Exchange(*descriptions.small_fact(choice), (descriptions.small_fact(choice)[1],))]


def ask_to_list(choice: Choice, amount: int) -> tuple[str, list[Word]]:
    """A request for `amount` words of a kind (colours, animals, foods, things), and all the words of that kind."""
    kinds: tuple[tuple[str, str, list[Word]], ...] = (
        ("colour", "种颜色", list(lexicon.COLORS)),
        ("animal", "种动物", [Word(kind.en, kind.zh.removeprefix("小")) for kind in lexicon.SPECIES]),
        ("thing to eat", "种食物", [Word(food.plural, food.zh) for food in lexicon.FOODS]),
        ("thing", "样东西", [Word(thing.en, thing.zh) for thing in lexicon.THINGS]),
    )
    noun, measured, words = choice.pick(kinds)
    if choice.language == "en":
        plural = noun if amount == 1 else noun.replace("thing", "things") if "thing" in noun else noun + "s"
        return f"Name {lexicon.number_en(amount)} {plural}.", words
    return f"说出{lexicon.counted_zh(amount, measured)}。", words


def name_some(choice: Choice) -> Talk:
    """One, two or three of a kind: colours, animals, foods, things."""
    amount = choice.integer(1, 3)
    request, words = ask_to_list(choice, amount)
    chosen, others = choice.sample(words, amount), choice.sample(words, 1)
    if choice.language == "en":
        listed = ", ".join(word.en for word in chosen)
        return [
            Exchange(
                request,
                listed[0].upper() + listed[1:] + ".",
                (", ".join([others[0].en.capitalize()] * 6) + ".",),
            )
        ]
    return [
        Exchange(
            request,
            "、".join(word.zh for word in chosen) + "。",
            ("、".join([others[0].zh] * 6) + "。",),
        )
    ]


def translation(choice: Choice) -> Talk:
    """A word in the other language."""
    tables: tuple[tuple[Word | ThingWord | FoodWord | Species, ...], ...] = (
        lexicon.COLORS,
        lexicon.THINGS,
        lexicon.FOODS,
        lexicon.WEEKDAYS,
        lexicon.SPECIES,
    )
    word, other = choice.sample(choice.pick(tables), 2)
    if choice.language == "en":
        return [
            Exchange(
                choice.pick(("How do you say {} in Chinese?", "What is {} in Chinese?")).format(word.en),
                f"{word.zh}。",
                (f"{other.zh}。",),
            )
        ]
    return [
        Exchange(
            choice.pick(("{}用英语怎么说？", "{}的英语是什么？")).format(word.zh), f"{word.en}.", (f"{other.en}.",)
        )
    ]


Writer = Callable[[Choice], Talk]
# Each writer with its share of the conversations, in per cent.
SHARES: tuple[tuple[Writer, int], ...] = (
    (story_question, 30),
    (story_request, 16),
    (calculation, 14),
    (identity, 11),
    (everyday, 8),
    (knowledge, 8),
    (room_question, 7),
    (name_some, 3),
    (translation, 3),
)
WRITERS: tuple[Writer, ...] = tuple(writer for writer, share in SHARES for _ in range(share))


def converse(choice: Choice) -> Talk:
    """A conversation of one exchange or, in about one case of six, two."""
    talk = choice.pick(WRITERS)(choice)
    if len(talk) == 1 and choice.chance(0.08):
        first, last = everyday(choice), talk
        talk = first + last if choice.chance(0.7) else last + first
    return talk
