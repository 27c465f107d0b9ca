"""Documents that are not stories: rooms, animals, people's weeks, small facts, and calculations."""

from collections.abc import Callable

from minimind.data.corpus import lexicon
from minimind.data.corpus.arithmetic import OPERATIONS, Problem, held_out
from minimind.data.corpus.lexicon import Word
from minimind.data.corpus.world import Choice, Noun

_ROOM_SPOTS = (
    Word("on the table", "桌子上"),
    Word("under the chair", "椅子下面"),
    Word("in the box", "盒子里"),
    Word("on the shelf", "架子上"),
    Word("behind the door", "门后面"),
    Word("beside the window", "窗户旁边"),
    Word("under the bed", "床底下"),
    Word("in the drawer", "抽屉里"),
)


Described = tuple[str, list[tuple[str, str]]]


def _join(choice: Choice, lines: list[str]) -> str:
    return (" " if choice.language == "en" else "").join(lines)


def describe_room(choice: Choice) -> Described:
    """A room with a few things in different places; returns the text and questions with answers."""
    owner = choice.pick(lexicon.CHILD_NAMES[choice.language]).text
    words = choice.sample(lexicon.THINGS, choice.integer(3, 5))
    spots = choice.sample(_ROOM_SPOTS, len(words))
    lines = [f"This is {owner}'s room." if choice.language == "en" else f"这是{owner}的房间。"]
    asked: list[tuple[str, str]] = []
    for word, spot in zip(words, spots, strict=True):
        color = choice.pick(lexicon.COLORS) if "c" in word.tags else None
        thing = Noun(word, color, choice.language)
        if choice.language == "en":
            lines.append(
                choice.pick(("There is {thing.a} {spot}.", "{spot} is {thing.a}.")).format(thing=thing, spot=spot.en)
            )
            lines[-1] = lines[-1][0].upper() + lines[-1][1:]
            asked.append((f"Where is the {thing}?", f"The {thing} is {spot.en}."))
            if color:
                asked.append((f"What colour is the {thing}?", f"The {thing} is {color.en}."))
        else:
            lines.append(choice.pick(("{spot}有{thing.a}。", "{thing.a}在{spot}。")).format(thing=thing, spot=spot.zh))
            asked.append((f"{thing}在哪里？", f"{thing}在{spot.zh}。"))
            if color:
                asked.append((f"{thing}是什么颜色的？", f"{thing}是{color.zh}的。"))
    return _join(choice, lines), asked


def describe_animal(choice: Choice) -> Described:
    """One named animal: what its kind is like, and what is its own."""
    name = choice.pick(lexicon.PET_NAMES[choice.language])
    kind, color = choice.pick(lexicon.SPECIES), choice.pick(lexicon.COLORS[4:])
    home, age = choice.pick(lexicon.PLACES), choice.integer(1, 9)
    who = name.text
    if choice.language == "en":
        he = name.pronoun.capitalize()
        years = lexicon.number_en(age) + (" year old" if age == 1 else " years old")
        lines = [
            f"This is {lexicon.article(kind.en)} named {who}.",
            f"{he} has {kind.look.en}.",
            f"{he} likes {kind.food.en} and can {kind.skill.en}.",
            f"{he} is {color.en} and {years}.",
            f"{he} lives near the {home.en}.",
        ]
        asked = [
            (f"What does {who} like?", f"{who} likes {kind.food.en}."),
            (f"What can {who} do?", f"{who} can {kind.skill.en}."),
            (f"What colour is {who}?", f"{who} is {color.en}."),
            (f"How old is {who}?", f"{who} is {years}."),
        ]
    else:
        years = lexicon.counted_zh(age, "岁")
        can = kind.skill.zh if "得" in kind.skill.zh else "会" + kind.skill.zh
        lines = [
            f"这是一{kind.measure}{kind.zh}，名叫{who}。",
            f"它有{kind.look.zh}。",
            f"它喜欢吃{kind.food.zh}，{can}。",
            f"它是{color.zh}的，今年{years}了。",
            f"它家离{home.zh}不远。",
        ]
        asked = [
            (f"{who}喜欢吃什么？", f"{who}喜欢吃{kind.food.zh}。"),
            (f"{who}是什么颜色的？", f"{who}是{color.zh}的。"),
            (f"{who}今年几岁？", f"{who}今年{years}。"),
        ]
    return _join(choice, lines), asked


def describe_belongings(choice: Choice) -> Described:
    """A few children and the one thing each of them has; questions go both ways."""
    names = [name.text for name in choice.sample(lexicon.CHILD_NAMES[choice.language], choice.integer(2, 5))]
    words = choice.sample(lexicon.THINGS, len(names))
    if choice.language == "en":
        lines = [f"Here are {', '.join(names[:-1])} and {names[-1]}."]
    else:
        lines = [f"这里有{'、'.join(names[:-1])}和{names[-1]}。"]
    asked = []
    for who, word in zip(names, words, strict=True):
        thing = Noun(word, choice.pick(lexicon.COLORS) if "c" in word.tags else None, choice.language)
        if choice.language == "en":
            lines.append(f"{who} has {thing.a}.")
            asked += [
                (f"Who has the {thing}?", f"{who} has the {thing}."),
                (f"What does {who} have?", f"{who} has {thing.a}."),
            ]
        else:
            lines.append(f"{who}有{thing.a}。")
            asked += [(f"谁有{thing}？", f"{who}有{thing}。"), (f"{who}有什么？", f"{who}有{thing.a}。")]
    return _join(choice, lines), asked


def describe_week(choice: Choice) -> Described:
    """What a child does on some days of the week, and what the child likes."""
    name = choice.pick(lexicon.CHILD_NAMES[choice.language])
    days = sorted(choice.sample(range(7), choice.integer(2, 4)))
    skills = choice.sample(lexicon.SKILLS, len(days))
    food, color = choice.pick(lexicon.FOODS), choice.pick(lexicon.COLORS)
    who, he = name.text, name.pronoun
    if choice.language == "en":
        child = "girl" if he == "she" else "boy"
        lines = [f"This is a {child} named {who}. {he.capitalize()} likes {food.plural} and the colour {color.en}."]
        lines += [
            f"On {lexicon.WEEKDAYS[day].en} {he} learns to {skill.en}." for day, skill in zip(days, skills, strict=True)
        ]
        asked = [
            (f"What does {who} learn on {lexicon.WEEKDAYS[day].en}?", f"{who} learns to {skill.en}.")
            for day, skill in zip(days, skills, strict=True)
        ]
        asked.append((f"Which colour does {who} like?", f"{who} likes {color.en}."))
    else:
        child = "小女孩" if he == "她" else "小男孩"
        lines = [f"这是一个{child}，名叫{who}。{he}喜欢吃{food.zh}，最喜欢{color.zh}。"]
        lines += [f"{lexicon.WEEKDAYS[day].zh}{he}学{skill.zh}。" for day, skill in zip(days, skills, strict=True)]
        asked = [
            (f"{who}{lexicon.WEEKDAYS[day].zh}学什么？", f"{who}{lexicon.WEEKDAYS[day].zh}学{skill.zh}。")
            for day, skill in zip(days, skills, strict=True)
        ]
        asked.append((f"{who}喜欢什么颜色？", f"{who}喜欢{color.zh}。"))
    return _join(choice, lines), asked


DESCRIPTIONS: tuple[Callable[[Choice], Described], ...] = (
    describe_room,
    describe_animal,
    describe_week,
    describe_belongings,
)


def question_and_answer(choice: Choice, question: str, answer: str) -> str:
    """The two lines that ask and answer a question at the end of a pretraining document."""
    if choice.language == "en":
        return f"\nQuestion: {question}\nAnswer: {answer}"
    return f"\n问题：{question}\n回答：{answer}"


def small_fact(choice: Choice) -> tuple[str, str]:
    """A question from general knowledge or a counting task, and its answer."""
    english = choice.language == "en"
    kind = choice.integer(0, 6)
    if kind == 0:
        pair = choice.sample(choice.pick(lexicon.OPPOSITES), 2)
        if english:
            return f"What is the opposite of {pair[0].en}?", f"The opposite of {pair[0].en} is {pair[1].en}."
        return f"“{pair[0].zh}”的反义词是什么？", f"“{pair[0].zh}”的反义词是“{pair[1].zh}”。"
    if kind == 1:
        thing, color = choice.pick(lexicon.COLOR_OF)
        if english:
            return f"What colour is {thing.en}?", f"{thing.en.capitalize()} is {color.en}."
        return f"{thing.zh}是什么颜色的？", f"{thing.zh}是{color.zh}的。"
    if kind == 2:
        day = choice.integer(0, 6)
        today, tomorrow = lexicon.WEEKDAYS[day], lexicon.WEEKDAYS[(day + 1) % 7]
        if english:
            return f"Which day comes after {today.en}?", f"After {today.en} comes {tomorrow.en}."
        return f"{today.zh}的后一天是星期几？", f"{today.zh}的后一天是{tomorrow.zh}。"
    if kind == 3:
        animal = choice.pick(lexicon.SPECIES)
        if english:
            return f"What do {animal.plural} like to eat?", f"{animal.plural.capitalize()} like {animal.food.en}."
        return f"{animal.zh}喜欢吃什么？", f"{animal.zh}喜欢吃{animal.food.zh}。"
    return _numbers(choice, kind)


def _numbers(choice: Choice, kind: int) -> tuple[str, str]:
    english = choice.language == "en"
    if kind == 4:
        first, second = choice.sample(range(100), 2)
        if english:
            return f"Which is larger, {first} or {second}?", f"{max(first, second)} is larger."
        return f"{first}和{second}哪个大？", f"{max(first, second)}大。"
    start = choice.integer(0, 9)
    stop = start + choice.integer(3, 8)
    numbers = range(start, stop + 1) if kind == 5 else range(stop, start - 1, -1)
    ends = numbers[0], numbers[-1]
    listed = (", " if english else "，").join(str(number) for number in numbers)
    if english:
        return f"Count from {ends[0]} to {ends[1]}.", f"{listed}."
    return f"从{ends[0]}数到{ends[1]}。", f"{listed}。"


def draw_problem(choice: Choice) -> Problem:
    """A calculation, mostly with small numbers; the training split never draws one that is held out."""
    while True:
        operation = OPERATIONS[0] if choice.chance(0.45) else choice.pick(OPERATIONS[1:])
        size = choice.random()
        limit = 9 if size < 0.6 or operation == "×" else 20 if size < 0.85 else 99
        first, second = choice.integer(0, limit), choice.integer(0, limit)
        if operation == "-" and first < second:
            first, second = second, first
        if choice.split != "train" or not held_out(operation, first, second):
            return Problem(operation, first, second)


def calculation(problem: Problem, choice: Choice) -> str:
    """One line that states the problem and its answer in one of several forms."""
    form = choice.random()
    if form < 0.6:
        return f"{problem.expression} = {problem.answer}"
    if choice.language == "en":
        if form < 0.8:
            return f"{problem.spoken(choice.language)} is {problem.answer}."
        return f"What is {problem.spoken(choice.language)}? {problem.answer}."
    if form < 0.8:
        return f"{problem.spoken(choice.language)}等于{problem.answer}。"
    return f"{problem.spoken(choice.language)}等于几？{problem.answer}。"


def arithmetic_document(choice: Choice) -> str:
    """Several calculations, one a line."""
    return "\n".join(calculation(draw_problem(choice), choice) for _ in range(choice.integer(6, 10)))


def facts_document(choice: Choice) -> str:
    """Several small facts, each as a question and its answer, one a line."""
    joiner = " " if choice.language == "en" else ""
    return "\n".join(joiner.join(small_fact(choice)) for _ in range(choice.integer(5, 8)))


def description_document(choice: Choice) -> str:
    """A room, an animal or a week, followed by one or two questions."""
    text, asked = choice.pick(DESCRIPTIONS)(choice)
    for question, answer in choice.sample(asked, choice.integer(2, min(4, len(asked)))):
        text += question_and_answer(choice, question, answer)
    return text
