"""What people and animals do together: they share, help, learn, visit, cook, race and make friends."""

from minimind.data.corpus import lexicon
from minimind.data.corpus.world import Story


def shared(story: Story) -> None:
    """The friend is hungry, and the hero gives away some of the food."""
    food = story.choice.pick(lexicon.FOODS)
    have, give = story.operands("-", 2, 12)
    keep = have - give
    story.say(
        ("{friend} was hungry and had nothing to eat.", '"I am so hungry," said {friend}.'),
        ("{friend}饿了，可是没有东西吃。", "“我好饿啊。”{friend}说。"),
    )
    story.say(
        ("{who} had {have} and gave {friend} {give}.",),
        ("{who}有{have}，分给{friend}{give}。",),
        have=story.amount(have, food),
        give=story.number(give) if story.language == "en" else lexicon.counted_zh(give, food.measure),
    )
    story.say(
        ("So {who} still had {keep}.", "Now {who} had {keep} left."),
        ("这样{who}还有{keep}。", "{who}自己还剩{keep}。"),
        keep=story.amount(keep, food),
    )
    story.say(
        ('"You are a good friend," said {friend}.', "They sat down and ate together."),
        ("“你真是我的好朋友。”{friend}说。", "{they}坐下来一起吃。"),
    )
    plural, chinese = food.plural, food.zh
    wrong = [story.amount(n, food) for n in (keep + 1, give, have) if n != keep]
    story.ask(
        (f"How many {plural} did {{who}} have left?", "{who} had {x} left."),
        (f"{{who}}还剩几{food.measure}{chinese}？", "{who}还剩{x}。"),
        story.amount(keep, food),
        wrong,
    )
    story.ask(("Who was hungry?", "{x} was hungry."), ("谁饿了？", "{x}饿了。"), str(story.friend), [str(story.hero)])
    story.mood = "happy"


def rain(story: Story) -> None:
    """It begins to rain: an umbrella is shared, or shelter is found until the sun comes back."""
    story.say(
        ("On the way home dark clouds came, and it began to rain.", "On the way home it started to rain hard."),
        ("回家的路上，乌云来了，下起了雨。", "回家的路上，忽然下起了大雨。"),
    )
    owner, umbrella = story.choice.pick((story.hero, story.friend)), story.choice.chance(0.5)
    other = story.friend if owner is story.hero else story.hero
    if umbrella:
        story.say(
            ("{owner} had an umbrella and shared it with {other}, so they stayed dry.",),
            ("{owner}带了雨伞，和{other}一起撑，谁也没有淋湿。",),
            owner=owner,
            other=other,
        )
        story.ask(
            ("Who had an umbrella?", "{x} had an umbrella."),
            ("谁带了雨伞？", "{x}带了雨伞。"),
            str(owner),
            [str(other)],
        )
        story.mood = "thankful"
    else:
        shelters = (
            lexicon.Word("under a big tree", "大树下"),
            lexicon.Word("in an old hut", "旧木屋里"),
            lexicon.Word("under the bridge", "桥下"),
            lexicon.Word("in a small cave", "小山洞里"),
        )
        shelter = story.word(story.choice.pick(shelters))
        story.say(
            ("They had no umbrella, so they ran and waited {shelter}.",),
            ("{they}没有雨伞，只好跑到{shelter}躲雨。",),
            shelter=shelter,
        )
        story.say(("When the rain stopped, they saw a rainbow in the sky.",), ("雨停了，天上出现了一道彩虹。",))
        story.ask(
            ("Where did they wait?", "They waited {x}."),
            ("在哪里躲雨？", "在{x}躲雨。"),
            shelter,
            [story.word(word) for word in shelters],
        )
        story.mood = "happy"


def strange_sound(story: Story) -> None:
    """A sound in the dark is frightening until a lamp shows what makes it."""
    maker, others = story.choice.pick(lexicon.NOISE_MAKERS), lexicon.NOISE_MAKERS
    dark = story.choice.pick([place for place in lexicon.PLACES if "d" in place.tags])
    story.fields.update(maker=story.word(maker), dark=story.at(dark))
    story.say(
        ("In the evening {who} heard a strange sound {dark}.", "When it got dark, {who} heard something {dark}."),
        ("到了晚上，{who}听见{dark}有奇怪的声音。", "天黑以后，{who}听到{dark}传来一阵响声。"),
    )
    story.say(
        ("{He} was afraid, but {he} wanted to know what it was.", "At first {he} wanted to run away."),
        ("{he}有点害怕，可是又想知道那是什么。", "一开始{he}很想跑开。"),
    )
    story.say(
        ("{friend} lit a lamp, and they went to look.", "Then {who} took a lamp and went to look."),
        ("{friend}点亮一盏灯，陪{he}一起去看。", "后来{who}拿起一盏灯，走过去看。"),
    )
    story.say(
        ("It was only {maker}!", "In the light they saw that it was only {maker}."),
        ("原来只是{maker}！", "灯光一照，原来是{maker}。"),
    )
    story.ask(
        ("What made the strange sound?", "It was {x}."),
        ("是什么发出的声音？", "是{x}。"),
        story.word(maker),
        [story.word(word) for word in story.choice.sample(others, 2)],
    )
    story.ask(
        ("Where did the sound come from?", "It came from something {x}."),
        ("声音是从哪里来的？", "是从{x}来的。"),
        story.at(dark),
        [story.at(place) for place in story.choice.sample(lexicon.PLACES, 2)],
    )
    story.mood = "calm"


def cooked(story: Story) -> None:
    """A dish lacks one ingredient; somebody has it, and all eat together."""
    dish, missing = story.word(story.choice.pick(lexicon.DISHES)), story.choice.pick(lexicon.INGREDIENTS)
    story.fields.update(dish=dish, missing=story.word(missing), helper=story.word(story.choice.pick(lexicon.GROWN_UPS)))
    story.say(
        ("{who} wanted to make {dish} for {friend}.", "That day {who} and {friend} made {dish}."),
        ("{who}想给{friend}做{dish}。", "这天{who}和{friend}一起做{dish}。"),
    )
    story.say(
        (
            "But there was no {missing} in the kitchen.",
            "Everything was ready, but the {missing} was missing."
            if missing.en != "onions"
            else "Everything was ready, but the {missing} were missing.",
        ),
        ("可是厨房里没有{missing}了。", "什么都准备好了，就是少了{missing}。"),
    )
    story.say(
        ("So {he} asked {helper} and got some {missing}.", "{helper} gave {him} some {missing}."),
        ("{he}就去找{helper}要了一些{missing}。", "{helper}给了{he}一些{missing}。"),
    )
    story.say(
        ("Soon the food was ready, and it tasted very good.", "They ate it while it was hot, and it was delicious."),
        ("饭很快就做好了，味道香极了。", "大家趁热吃，好吃极了。"),
    )
    story.ask(
        ("What was missing in the kitchen?", "There was no {x}."),
        ("厨房里少了什么？", "少了{x}。"),
        story.word(missing),
        [story.word(word) for word in story.choice.sample(lexicon.INGREDIENTS, 2)],
    )
    story.ask(
        ("What did they make?", "They made {x}."),
        ("做了什么吃的？", "做了{x}。"),
        dish,
        [story.word(word) for word in story.choice.sample(lexicon.DISHES, 2)],
    )
    story.mood = "happy"


def carried(story: Story) -> None:
    """Something is too heavy for one, but not for two."""
    load = story.word(story.choice.pick(lexicon.HEAVY))
    goal = story.choice.pick([place for place in lexicon.PLACES if place.tags[-1] in "ig" and place is not story.place])
    helper = story.word(story.choice.pick(lexicon.GROWN_UPS))
    story.fields.update(load=load, goal=story.word(goal), helper=helper)
    story.say(("{helper} had to take {load} to the {goal}.",), ("{helper}要把{load}搬到{goal}。",))
    story.say(
        ("It was too heavy for one person.", "{who} saw that it was very heavy."),
        ("东西太重了，一个人搬不动。", "{who}看见东西很重。"),
    )
    story.say(
        ('"Let me help you," said {who}, and {friend} helped too.', "So {who} called {friend}, and they all helped."),
        ("“我来帮你。”{who}说。{friend}也来帮忙。", "{who}叫来{friend}，大家一起帮忙。"),
    )
    story.say(
        ("Together they brought it to the {goal}.", "When all worked together, it was easy."),
        ("大家一起把它搬到了{goal}。", "大家一起用力，很快就搬好了。"),
    )
    story.place = goal
    story.ask(
        ("What did they carry?", "They carried {x}."),
        ("大家搬了什么？", "大家搬了{x}。"),
        load,
        [story.word(word) for word in story.choice.sample(lexicon.HEAVY, 2)],
    )
    story.ask(
        ("Who needed help?", "{x} needed help."),
        ("谁需要帮忙？", "{x}需要帮忙。"),
        helper,
        [story.word(word) for word in story.choice.sample(lexicon.GROWN_UPS, 2)],
    )
    story.mood = "proud"


def ill(story: Story) -> None:
    """The friend is ill in bed; a visit with something good helps."""
    food = story.choice.pick(lexicon.FOODS)
    brought = story.amount(story.choice.integer(2, 9), food)
    story.say(
        (
            "The next day {friend} was ill and had to stay in bed.",
            "The next day {friend} could not come and play. {friend} was ill.",
        ),
        ("第二天{friend}生病了，只能躺在床上。", "第二天{friend}没有来玩，原来是生病了。"),
    )
    story.say(
        ("{who} visited {friend} and brought {brought}.", "So {who} went to see {friend} with {brought}."),
        ("{who}去看{friend}，带了{brought}。", "于是{who}带着{brought}去看望{friend}。"),
        brought=brought,
    )
    story.say(
        ("{He} told a funny story, and {friend} laughed.", "{He} sat by the bed and sang a song."),
        ("{he}讲了一个好笑的故事，{friend}笑了。", "{he}坐在床边唱了一首歌。"),
    )
    story.say(
        ("Three days later {friend} was well again.", "Soon {friend} felt much better."),
        ("过了三天，{friend}的病就好了。", "没过多久，{friend}就好多了。"),
    )
    other = story.choice.pick([word for word in lexicon.FOODS if word is not food])
    story.ask(
        ("What did {who} bring?", "{who} brought {x}."),
        ("{who}带了什么？", "{who}带了{x}。"),
        brought,
        [story.amount(story.choice.integer(2, 9), other)],
    )
    story.ask(("Who was ill?", "{x} was ill."), ("谁生病了？", "{x}生病了。"), str(story.friend), [str(story.hero)])
    story.mood = "calm"


def learned(story: Story) -> None:
    """A skill is learned: it goes wrong, is practised, and works on a later day."""
    skill = story.word(story.choice.pick(lexicon.SKILLS))
    story.fields.update(skill=skill)
    story.say(
        ("{who} wanted to learn to {skill}.", "{friend} could {skill}, and {who} wanted to learn it too."),
        ("{who}想学{skill}。", "{friend}会{skill}，{who}也想学。"),
    )
    story.say(
        ("On the first day it did not work at all.", "At first {he} made many mistakes."),
        ("第一天怎么也学不会。", "一开始{he}总是出错。"),
    )
    story.say(
        ('"Do not give up," said {friend}. "Try again."', "But {friend} helped {him}, and {he} tried again."),
        ("“别放弃，”{friend}说，“再试一次。”", "不过有{friend}帮忙，{he}又试了一次。"),
    )
    story.say(("{He} practised every day, and at last {he} could {skill}.",), ("{he}天天练习，终于学会了{skill}。",))
    story.ask(
        ("What did {who} learn?", "{who} learned to {x}."),
        ("{who}学会了什么？", "{who}学会了{x}。"),
        skill,
        [story.word(word) for word in story.choice.sample(lexicon.SKILLS, 2)],
    )
    story.ask(
        ("Who helped {who}?", "{x} helped {him}."),
        ("谁鼓励了{who}？", "{x}鼓励了{him}。"),
        str(story.friend),
        [str(story.hero)],
    )
    story.mood = "proud"


def played(story: Story) -> None:
    """Somebody new is alone and is asked to join the game."""
    game = story.word(story.choice.pick(lexicon.GAMES))
    story.fields.update(game=game, at=story.at(story.place), new=story.newcomer)
    story.say(
        (
            "They saw {new.a} named {new} sitting alone {at}.",
            "There was also {new.a} named {new}, and nobody played with {new.him}.",
        ),
        ("{they}看见{at}坐着{new.a}，名叫{new}。", "{at}还有{new.a}，名叫{new}，没有人和{new.him}玩。"),
    )
    story.say(
        ('"Do you want to play {game} with us?" asked {who}.', 'So {who} said, "Let us play {game} together."'),
        ("“你想和我们一起玩{game}吗？”{who}问。", "{who}就说：“我们一起玩{game}吧。”"),
    )
    story.say(
        ("They played until the sun went down.", "{new} smiled, and they played for a long time."),
        ("大家一直玩到太阳下山。", "{new}笑了，大家玩了很久。"),
    )
    story.ask(
        ("What did they play?", "They played {x}."),
        ("玩了什么？", "玩了{x}。"),
        game,
        [story.word(word) for word in story.choice.sample(lexicon.GAMES, 2)],
    )
    story.ask(
        ("Who was alone?", "{x} was alone."),
        ("谁一个人待着？", "{x}一个人待着。"),
        str(story.newcomer),
        [str(story.hero), str(story.friend)],
    )
    story.mood = "happy"


def raced(story: Story) -> None:
    """The faster one stops on the way, and so the steady one wins."""
    goal = story.choice.pick([place for place in lexicon.PLACES if place is not story.place])
    winner, loser = story.choice.sample((story.hero, story.friend), 2)
    stops = (
        lexicon.Word("to look at a butterfly", "看蝴蝶"),
        lexicon.Word("to sleep under a tree", "在树下睡觉"),
        lexicon.Word("to drink some water", "喝水"),
        lexicon.Word("to pick flowers", "采花"),
    )
    stop = story.choice.pick(stops)
    story.place = goal
    story.fields.update(goal=story.word(goal), winner=winner, loser=loser, stop=story.word(stop))
    story.say(
        ("{who} and {friend} had a race to the {goal}.", '"Who will be first at the {goal}?" asked {friend}.'),
        ("{who}和{friend}比赛，看谁先跑到{goal}。", "“看谁先跑到{goal}！”{friend}说。"),
    )
    story.say(("{loser} ran faster, but then stopped {stop}.",), ("{loser}跑得更快，可是半路停下来{stop}。",))
    story.say(
        ("{winner} did not stop and won the race.", "{winner} went on and on and was the first to arrive."),
        ("{winner}没有停，赢了比赛。", "{winner}一直往前跑，第一个到了。"),
    )
    story.ask(("Who won the race?", "{x} won the race."), ("谁赢了比赛？", "{x}赢了比赛。"), str(winner), [str(loser)])
    story.ask(
        ("Why did {loser} stop?", "{loser} stopped {x}."),
        ("{loser}为什么停下来？", "{loser}停下来{x}。"),
        story.word(stop),
        [story.word(word) for word in stops],
    )
    story.mood = "proud" if winner is story.hero else "calm"


def counted(story: Story) -> None:
    """Animals are counted, and more of them come."""
    kind = story.choice.pick(lexicon.SPECIES)
    first, more = story.operands("+", 2, 9)
    english = story.language == "en"

    def count(value: int) -> str:
        return lexicon.number_en(value) if english else lexicon.counted_zh(value, kind.measure)

    def animals(value: int) -> str:
        return (kind.en if value == 1 else kind.plural) if english else kind.zh

    story.fields.update(
        at=story.at(story.place), n=count(first), animals=animals(first), k=count(more), total=count(first + more)
    )
    story.say(
        ("{who} saw {n} {animals} {at}.", "There were {n} {animals} {at}, and {who} counted them."),
        ("{who}看见{at}有{n}{animals}。", "{at}有{n}{animals}，{who}数了数。"),
    )
    story.say(("Then {k} more came.", "A little later {k} more came."), ("后来又来了{k}。", "过了一会儿，又来了{k}。"))
    story.say(
        ("Now there were {total}.", '"Now there are {total}!" said {who}.'),
        ("现在一共有{total}。", "“一共有{total}！”{who}说。"),
    )
    total = first + more
    story.ask(
        (f"How many {kind.plural} were there in the end?", "There were {x}."),
        (f"最后一共有几{kind.measure}{kind.zh}？", "一共有{x}。"),
        count(total),
        [count(n) for n in (total + 1, total - 1, first)],
    )
    story.mood = "calm"


def travelled(story: Story) -> None:
    """A letter invites the hero, who travels to a relative and comes home."""
    who, way = story.choice.pick(lexicon.RELATIVES), story.choice.pick(lexicon.TRANSPORTS)
    place = story.choice.pick([place for place in lexicon.PLACES if "v" in place.tags])
    story.fields.update(relative=story.word(who), way=story.word(way), goal=story.word(place))
    story.say(
        ("A letter came from {his} {relative}.", "The postman brought a letter from {his} {relative}."),
        ("{his}{relative}寄来一封信。", "邮递员送来一封信，是{his}{relative}写的。"),
    )
    story.say(('"Come and visit me at the {goal}," said the letter.',), ("信上写着：“来{goal}看我吧。”",))
    story.say(
        ("{who} went there by {way}, and {friend} came too.",),
        (
            "{who}坐{way}去了，{friend}也一起去了。"
            if way.en != "bicycle"
            else "{who}骑{way}去了，{friend}也一起去了。",
        ),
    )
    story.say(
        ("They had a good time and came home late.", "{his} {relative} was very glad to see them."),
        ("大家玩得很开心，很晚才回家。", "{relative}见到{they}高兴极了。"),
    )
    story.place = place
    story.ask(
        ("How did {who} travel?", "{who} went by {x}."),
        ("{who}是怎么去的？", "{who}是坐{x}去的。" if way.en != "bicycle" else "{who}是骑{x}去的。"),
        story.word(way),
        [story.word(word) for word in lexicon.TRANSPORTS[:3]],
    )
    story.ask(
        ("Who wrote the letter?", "{his} {x} wrote it."),
        ("信是谁写的？", "是{his}{x}写的。"),
        story.word(who),
        [story.word(word) for word in lexicon.RELATIVES],
    )
    story.mood = "happy"


PLOTS = (shared, rain, strange_sound, cooked, carried, ill, learned, played, raced, counted, travelled)
