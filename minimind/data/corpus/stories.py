"""Short stories: who, where and when; one or two plots; how it ended. With questions that have checkable answers."""

from collections.abc import Callable

from minimind.data.corpus import lexicon, plots_people, plots_things
from minimind.data.corpus.world import Character, Choice, Story

Plot = Callable[[Story], None]
PLOTS: tuple[Plot, ...] = plots_things.PLOTS + plots_people.PLOTS

_MOODS = {
    "happy": lexicon.Word("happy", "高兴"),
    "proud": lexicon.Word("proud", "自豪"),
    "calm": lexicon.Word("calm", "平静"),
    "thankful": lexicon.Word("thankful", "感激"),
}
_LESSONS = {
    "lost": lexicon.Word("It is good to put things in their place", "东西要放回原处"),
    "bought": lexicon.Word("Work brings its reward", "肯干活就有收获"),
    "broken": lexicon.Word("Next time I will be more careful", "下次我要更小心"),
    "in_a_tree": lexicon.Word("A friend always helps", "朋友总会帮忙"),
    "in_the_water": lexicon.Word("Near the water one must take care", "在水边要当心"),
    "present": lexicon.Word("Giving is as good as getting", "送礼物和收礼物一样快乐"),
    "seeds": lexicon.Word("Good things need time", "好事要慢慢等"),
    "shared": lexicon.Word("Sharing makes everything taste better", "分着吃才更香"),
    "rain": lexicon.Word("After the rain comes the sun", "雨后总会天晴"),
    "strange_sound": lexicon.Word("There was nothing to be afraid of", "其实没什么好怕的"),
    "cooked": lexicon.Word("Food tastes best with friends", "和朋友一起吃最香"),
    "carried": lexicon.Word("Together we are strong", "人多力量大"),
    "ill": lexicon.Word("A visit is the best medicine", "朋友的关心是最好的药"),
    "learned": lexicon.Word("I can do it if I keep trying", "只要坚持就能学会"),
    "played": lexicon.Word("It is good to have a friend", "有朋友真好"),
    "raced": lexicon.Word("One should not stop too early", "不能半路停下来"),
    "counted": lexicon.Word("Counting is fun", "数数真有趣"),
    "travelled": lexicon.Word("Home is nice, and so is a journey", "出门好玩，回家也好"),
}


def _opening(story: Story) -> None:
    """Name the hero, the friend, the day and the place.

    A new name always follows "named" or 名叫: where a small model is about to write a name, the words before it then
    tell whether to make one up or to look one up.
    """
    choice, hero, friend = story.choice, story.hero, story.friend
    story.fields.update(
        hero=hero,
        mate=friend,
        home=story.word(choice.pick(lexicon.PLACES)),
        place=story.word(story.place),
        at=story.at(story.place),
        weather=story.word(choice.pick(lexicon.WEATHERS)),
        time=story.word(choice.pick(lexicon.TIMES)),
    )
    story.say(
        ("Once there was {hero.a} named {who}.", "There was once {hero.a} named {who}."),
        ("从前有{hero.a}，名叫{who}。", "有{hero.a}，名叫{who}。"),
    )
    story.say(
        (
            "{He} lived near the {home}, and {his} best friend was {mate.a} named {friend}.",
            "{his} best friend was {mate.a} named {friend}.",
        ),
        ("{he}家离{home}不远，最好的朋友是{mate.a}，名叫{friend}。", "{his}好朋友是{mate.a}，名叫{friend}。"),
    )
    if hero.species:
        kinds = [
            Character(lexicon.Name("", hero.pronoun), kind, story.language)
            for kind in choice.sample(lexicon.SPECIES, 2)
        ]
        story.ask(
            ("What kind of animal was {who}?", "{who} was {x}."),
            ("{who}是什么动物？", "{who}是{x}。"),
            hero.a,
            [kind.a for kind in kinds],
        )
    story.say(
        ("One {weather} {time}, {who} and {friend} were {at}.", "One {weather} {time}, {who} met {friend} {at}."),
        ("一个{weather}{time}，{who}和{friend}在{at}。", "一个{weather}{time}，{who}在{at}遇见了{friend}。"),
    )
    places = [story.at(place) for place in choice.sample(lexicon.PLACES, 2)]
    story.ask(
        ("Where were {who} and {friend} at first?", "They were {x}."),
        ("{who}和{friend}一开始在哪里？", "在{x}。"),
        story.at(story.place),
        places,
    )


def _ending(story: Story, plot: str) -> None:
    """Tell how the hero felt and, sometimes, what was learned; both follow from the last plot."""
    mood = story.word(_MOODS[story.mood])
    story.fields.update(mood=mood, lesson=story.word(_LESSONS[plot]))
    closing = story.choice.random()
    if closing < 0.6:
        story.say(
            ("That night {who} lay in bed and felt {mood}.", "At the end of the day {who} was {mood}."),
            ("那天夜里，{who}躺在床上，心里很{mood}。", "这一天过完了，{who}心里很{mood}。"),
        )
        story.ask(
            ("How did {who} feel at night?", "{who} felt {x}."),
            ("夜里{who}心里怎么样？", "{who}心里很{x}。"),
            mood,
            [story.word(word) for word in _MOODS.values()],
        )
    if closing > 0.4:
        story.say(('"{lesson}," thought {who}.',), ("“{lesson}。”{who}想。",))


def tell_story(choice: Choice, plots: int | None = None) -> Story:
    """Simulate and tell one story with the given number of plots (by default one or, less often, two)."""
    story = Story(choice)
    _opening(story)
    count = plots or (1 if choice.chance(0.65) else 2)
    chosen = choice.sample(PLOTS, count)
    for index, plot in enumerate(chosen):
        if index:
            story.say(
                ("But the day was not over.", "Then something else happened."),
                ("这一天还没有结束。", "后来又发生了一件事。"),
            )
        plot(story)
        story.events.append(plot.__name__)
    _ending(story, chosen[-1].__name__)
    return story
