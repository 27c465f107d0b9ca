"""What can happen to things: they are lost, bought, broken, blown away, dropped into water, made and sent.

Every plot is a function of the story. What the thing is decides what happens: a stone sinks, a kite flies.
"""

from minimind.data.corpus import lexicon
from minimind.data.corpus.world import Story


def lost(story: Story) -> None:
    """A thing is missing, is looked for in the wrong place, and is found where it was left."""
    known = story.held is not None
    thing = story.thing()
    first, right, other = (story.word(spot) for spot in story.choice.sample(lexicon.SPOTS, 3))
    story.fields.update(thing=thing, first=first, right=right)
    if known:
        story.say(
            ("Suddenly {who} could not find the {thing}.", "A little later the {thing} was gone."),
            ("忽然，{who}找不到{thing}了。", "过了一会儿，{thing}不见了。"),
        )
    else:
        story.say(
            (
                "{who} had {thing.a}, but that day {he} could not find it.",
                "{who} looked for {his} {thing.name}, but it was gone.",
            ),
            ("{who}有{thing.a}，可是那天怎么也找不到了。", "{who}想找自己的{thing.name}，可是它不见了。"),
        )
    story.say(
        ("First {he} looked {first}, but it was not there.", "{He} looked {first} and found nothing."),
        ("{he}先去{first}找，没有找到。", "{he}看了看{first}，什么也没有。"),
    )
    if story.choice.chance(0.5):
        story.say(
            ('"Have you seen my {thing}?" asked {who}. "Yes, it is {right}," said {friend}.',),
            ("“你看见我的{thing}了吗？”{who}问。“看见了，就在{right}。”{friend}说。",),
        )
        story.ask(
            ("Who told {who} where the {thing} was?", "{x} told {him}."),
            ("谁告诉{who}{thing}在哪里？", "是{x}告诉{him}的。"),
            str(story.friend),
            [str(story.hero)],
        )
    else:
        story.say(
            ("Then {he} remembered that {he} had left it {right}.",), ("后来{he}想起来，自己把它忘在了{right}。",)
        )
    story.say(
        ("{who} ran to look, and there it was.", "{who} looked {right} and found the {thing}."),
        ("{who}跑过去一看，它果然在那里。", "{who}在{right}找到了{thing}。"),
    )
    story.ask(("Where was the {thing}?", "It was {x}."), ("{thing}在哪里？", "在{x}。"), right, [first, other])
    story.mood = "happy"


def bought(story: Story) -> None:
    """The hero has some coins and wants a thing; if they do not suffice, the rest is earned."""
    thing = story.new_thing([word for word in lexicon.THINGS if "g" in word.tags])
    shop, chore = story.word(story.choice.pick(lexicon.SHOPS)), story.word(story.choice.pick(lexicon.CHORES))
    more, less = story.operands("-", 2, 20)
    story.held = thing
    story.fields.update(thing=thing, shop=shop)
    enough = story.choice.chance(0.6)
    have, cost = (more, less) if enough else (less, more)
    english, chinese = ("coin" if have == 1 else "coins"), lexicon.counted_zh(have, "枚")
    story.say(
        (
            "{who} had {have} {coins} and went to the {shop} to buy {thing.a}.",
            "{who} wanted {thing.a}, so {he} went to the {shop} with {have} {coins}.",
        ),
        ("{who}带着{have}硬币去{shop}买{thing.a}。", "{who}想要{thing.a}，就带着{have}硬币去了{shop}。"),
        have=story.number(have) if story.language == "en" else chinese,
        coins=english,
    )
    story.say(
        ("The {thing} cost {cost} {coins}.",),
        ("{thing}要{cost}硬币。",),
        coins="coin" if cost == 1 else "coins",
        cost=story.number(cost) if story.language == "en" else lexicon.counted_zh(cost, "枚"),
    )
    left = more - less
    amount = story.number(left) if story.language == "en" else lexicon.counted_zh(left, "枚")
    others = [
        story.number(n) if story.language == "en" else lexicon.counted_zh(n, "枚")
        for n in (left + 1, left - 1 if left > 1 else left + 2)
    ]
    story.fields.update(left=amount, coins="coin" if left == 1 else "coins", chore=chore)
    (_paid if enough else _earned_the_rest)(story, amount, others)
    story.ask(
        ("What did {who} buy?", "{who} bought {x}."),
        ("{who}买了什么？", "{who}买了{x}。"),
        thing.a,
        [story.new_thing(lexicon.THINGS).a],
    )
    story.mood = "happy" if enough else "proud"


def _paid(story: Story, amount: str, others: list[str]) -> None:
    story.say(
        ("{He} paid and had {left} {coins} left.", "{He} bought it and kept {left} {coins}."),
        ("{he}付了钱，还剩{left}。", "{he}买下了它，还剩下{left}。"),
    )
    story.ask(
        ("How many coins did {who} have left?", "{who} had {x} left."),
        ("{who}还剩几枚硬币？", "{who}还剩{x}。"),
        amount,
        others,
    )


def _earned_the_rest(story: Story, amount: str, others: list[str]) -> None:
    story.fields["helper"] = helper = story.word(story.choice.pick(lexicon.GROWN_UPS[:4]))
    story.say(
        ("{He} needed {left} more {coins}, so {he} helped {helper} to {chore}.",),
        ("还差{left}，于是{he}帮{helper}{chore}。",),
    )
    story.say(
        ("{helper} gave {him} {left} {coins}, and {who} bought the {thing}.",),
        ("{helper}给了{he}{left}，{who}就买下了{thing}。",),
    )
    story.ask(
        ("Whom did {who} help?", "{who} helped {x}."),
        ("{who}帮了谁的忙？", "{who}帮了{x}的忙。"),
        helper,
        [story.word(word) for word in lexicon.GROWN_UPS[:4]],
    )
    story.ask(
        ("How many more coins did {who} need?", "{who} needed {x} more."),
        ("{who}还差几枚硬币？", "{who}还差{x}。"),
        amount,
        others,
    )


def broken(story: Story) -> None:
    """A thing that breaks is dropped; it is mended if there is glue, and owned up to if there is not."""
    known = story.held is not None and "b" in story.held.tags
    thing = story.thing("b")
    glue = story.choice.chance(0.5)
    story.fields.update(thing=thing, helper=story.word(story.choice.pick(lexicon.GROWN_UPS[:2])))
    if not known:
        story.say(
            ("{who} was carrying {thing.a} for {helper}.", "{helper} gave {who} {thing.a} to carry home."),
            ("{who}替{helper}拿着{thing.a}。", "{helper}让{who}把{thing.a}拿回家。"),
        )
    story.say(
        (
            "{He} tripped over a stone, and the {thing} fell and broke.",
            "But {he} did not look where {he} was going, and the {thing} fell and broke.",
        ),
        ("{he}被石头绊了一下，{thing}掉在地上摔坏了。", "可是{he}走路不小心，{thing}掉在地上摔坏了。"),
    )
    if glue:
        story.say(
            ("{friend} brought some glue, and together they mended the {thing}.",),
            ("{friend}拿来胶水，和{he}一起把{thing}粘好了。",),
        )
        story.say(('"Now it is as good as new," said {friend}.',), ("“现在跟新的一样了。”{friend}说。",))
        story.mood = "thankful"
    else:
        story.say(
            ('"I am sorry, I broke the {thing}," {he} said to {helper}.',),
            ("“对不起，我把{thing}摔坏了。”{he}对{helper}说。",),
        )
        story.say(
            ('"Thank you for telling me the truth," said {helper}, and was not angry.',),
            ("“谢谢你说了实话。”{helper}说，一点也没有生气。",),
        )
        story.held = None
        story.mood = "calm"
    yes_no = (
        ("yes, they mended it with glue", "no, it stayed broken")
        if story.language == "en"
        else ("修好了，是用胶水粘好的", "没有修好")
    )
    story.ask(("Was the {thing} mended?", "{x}."), ("{thing}修好了吗？", "{x}。"), yes_no[not glue], yes_no)
    story.ask(
        ("What did {who} break?", "{who} broke the {x}."),
        ("{who}摔坏了什么？", "{who}摔坏了{x}。"),
        str(thing),
        [str(story.new_thing([word for word in lexicon.THINGS if "b" in word.tags]))],
    )


def in_a_tree(story: Story) -> None:
    """The wind carries a light thing into a tree; someone knows how to get it down."""
    known = story.held is not None and "l" in story.held.tags
    thing = story.thing("l")
    story.fields.update(thing=thing)
    if "o" not in story.place.tags:
        story.say(("Then they went outside.",), ("后来{they}来到外面。",))
    if not known:
        story.say(
            ("{who} was playing with {thing.a}.", "{who} had {thing.a} and showed it to {friend}."),
            ("{who}正在玩{thing.a}。", "{who}有{thing.a}，拿给{friend}看。"),
        )
    story.say(
        (
            "A strong wind came and carried the {thing} up into a tall tree.",
            "The wind took the {thing} away, and it got stuck in a tree.",
        ),
        ("一阵大风吹来，把{thing}吹到了高高的树上。", "风把{thing}吹走了，挂在了树上。"),
    )
    story.say(
        ("{who} jumped, but {he} could not reach it.", "The branch was too high for {who}."),
        ("{who}跳了又跳，还是够不着。", "树枝太高了，{who}够不着。"),
    )
    ways = (
        ("a ladder", "梯子", "climbed up", "爬上去"),
        ("a long stick", "长竹竿", "reached up", "伸手一够"),
        ("a chair", "椅子", "stood on it", "站上去"),
        ("a net", "网兜", "reached up", "伸手一够"),
    )
    tool_en, tool_zh, act_en, act_zh = story.choice.pick(ways)
    tool = tool_en if story.language == "en" else tool_zh
    story.say(
        (
            "{friend} brought {tool}, and {who} {act} and got the {thing} back.",
            "Then {friend} came with {tool}. {who} {act} and took the {thing} down.",
        ),
        ("{friend}拿来{tool}，{who}{act}，把{thing}拿了下来。",),
        tool=tool,
        act=act_en if story.language == "en" else act_zh,
    )
    story.ask(
        ("What did {friend} bring?", "{friend} brought {x}."),
        ("{friend}拿来了什么？", "{friend}拿来了{x}。"),
        tool,
        [way[0] if story.language == "en" else way[1] for way in ways],
    )
    story.ask(
        ("What was stuck in the tree?", "The {x} was stuck in the tree."),
        ("什么挂在了树上？", "{x}挂在了树上。"),
        str(thing),
        [str(story.friend)],
    )
    story.mood = "thankful"


def in_the_water(story: Story) -> None:
    """A thing falls into the water: what floats comes back, what sinks is gone and a friend shares."""
    tag = story.choice.pick("fs")
    known = story.held is not None and tag in story.held.tags
    thing = story.thing(tag)
    story.fields["thing"] = thing
    if "w" not in story.place.tags:
        story.place = story.choice.pick([place for place in lexicon.PLACES if "w" in place.tags])
        story.say(
            ("Then they went to the {water}.", "Later they walked to the {water}."),
            ("后来{they}来到{water}。", "过了一会儿，{they}去了{water}。"),
            water=story.word(story.place),
        )
    if not known:
        story.say(
            ("{who} was carrying {thing.a}.", "{who} had {thing.a} with {him}."),
            ("{who}手里拿着{thing.a}。", "{who}带着{thing.a}。"),
        )
    story.say(
        ("The {thing} slipped and fell into the water.", "But {he} slipped, and the {thing} fell into the water."),
        ("{he}手一滑，{thing}掉进了水里。", "{thing}不小心掉进了水里。"),
    )
    floats = "f" in thing.tags
    if floats:
        story.say(
            (
                "It did not sink. It floated, and {friend} pulled it out with a long stick.",
                "It floated on the water and slowly came back, so {who} picked it up.",
            ),
            (
                "它没有沉下去，漂在水面上，{friend}用长竹竿把它捞了上来。",
                "它漂在水面上，慢慢漂了回来，{who}就把它捡了起来。",
            ),
        )
        story.mood = "happy"
    else:
        story.say(
            ("It was too heavy to float, and it sank at once.", "It sank to the bottom, and nobody could reach it."),
            ("它太沉了，浮不起来，一下子就沉了下去。", "它沉到了水底，谁也够不着。"),
        )
        story.say(
            ('"Do not be sad," said {friend}. "You can play with mine."',), ("“别难过，”{friend}说，“你可以玩我的。”",)
        )
        story.held = None
        story.mood = "thankful"
    sank, floated = ("it sank", "it floated") if story.language == "en" else ("沉下去了", "浮在水面上")
    right, wrong = (floated, sank) if floats else (sank, floated)
    story.ask(
        ("Did the {thing} float or sink?", "{x}."), ("{thing}是浮在水面上还是沉下去了？", "{x}。"), right, [wrong]
    )
    story.ask(
        ("What fell into the water?", "The {x} fell into the water."),
        ("什么掉进了水里？", "{x}掉进了水里。"),
        str(thing),
        [str(story.friend)],
    )


def present(story: Story) -> None:
    """It is the friend's birthday, and the hero makes a present that the friend likes."""
    words = [word for word in lexicon.THINGS if "g" in word.tags]
    gift = story.new_thing(words)
    story.fields.update(gift=gift, thing=gift)
    story.say(
        ("It was {friend}'s birthday.", "The next day was {friend}'s birthday."),
        ("这天是{friend}的生日。", "第二天就是{friend}的生日了。"),
    )
    story.say(
        ('"What can I give to {friend}?" thought {who}.', "{who} wanted to give {friend} something nice."),
        ("“我送什么给{friend}好呢？”{who}想。", "{who}想送{friend}一件好东西。"),
    )
    story.say(
        ("{friend} liked the colour {gift.color}, so {who} chose {gift.a}.", "{who} worked all day and made {gift.a}."),
        ("{friend}喜欢{gift.color}，{who}就选了{gift.a}。", "{who}忙了一整天，做了{gift.a}。"),
    )
    story.say(
        ('"This is the best present!" said {friend}.', '"Thank you! I like it very much," said {friend}.'),
        ("“这是最好的礼物！”{friend}说。", "“谢谢你！我太喜欢了。”{friend}说。"),
    )
    other = story.new_thing(words)
    story.ask(
        ("What did {who} give to {friend}?", "{who} gave {friend} {x}."),
        ("{who}送给{friend}什么？", "{who}送给{friend}{x}。"),
        gift.a,
        [other.a],
    )
    story.ask(
        ("What colour was the {gift}?", "The {gift} was {x}."),
        ("{gift}是什么颜色的？", "{gift}是{x}的。"),
        gift.color,
        [story.word(color) for color in story.choice.sample(lexicon.COLORS, 2)],
    )
    story.ask(
        ("Whose birthday was it?", "It was {x}'s birthday."),
        ("是谁的生日？", "是{x}的生日。"),
        str(story.friend),
        [str(story.hero)],
    )
    story.mood = "happy"


def seeds(story: Story) -> None:
    """Seeds are planted and watered, and some days later flowers bloom: as many as came up."""
    flowers, color = story.choice.pick(lexicon.FLOWERS), story.choice.pick(lexicon.COLORS)
    planted, lost_ones = story.operands("-", 3, 12)
    bloomed = planted - lost_ones
    english = story.language == "en"

    def count(value: int) -> str:
        return lexicon.number_en(value) if english else lexicon.number_zh(value)

    story.fields.update(flowers=story.word(flowers), color=story.word(color), days=count(story.choice.integer(5, 12)))
    story.say(
        (
            "Behind {his} house {who} planted {n} seeds.",
            "{who} dug small holes behind the house and planted {n} seeds.",
        ),
        ("{who}在自家屋后种下了{n}颗种子。", "{who}在屋后挖了小坑，种下{n}颗种子。"),
        n=count(planted) if english or planted != 2 else "两",
    )
    story.say(
        ("Every day {he} gave them water.", "{He} watered them every morning and waited."),
        ("{he}每天都给它们浇水。", "{he}每天早上浇水，耐心地等着。"),
    )
    story.say(
        (
            "After {days} days {k} {flowers} bloomed, and they were {color}."
            if bloomed > 1
            else "After {days} days one flower bloomed, and it was {color}.",
        ),
        ("过了{days}天，开出了{k}朵{color}的{flowers}。",),
        k=count(bloomed) if english or bloomed != 2 else "两",
    )
    right = story.fields["k"]
    amounts = [str(right), *(count(n) if english or n != 2 else "两" for n in (bloomed + 1, bloomed + 2, planted))]
    if bloomed > 1 or not english:
        story.ask(
            ("How many {flowers} bloomed?", "{x} {flowers} bloomed."),
            ("开了几朵{flowers}？", "开了{x}朵{flowers}。"),
            amounts[0],
            amounts[1:],
        )
    story.ask(
        (
            "What colour were the flowers?" if bloomed > 1 else "What colour was the flower?",
            "They were {x}." if bloomed > 1 else "It was {x}.",
        ),
        ("花是什么颜色的？", "花是{x}的。"),
        story.word(color),
        [story.word(other) for other in story.choice.sample(lexicon.COLORS, 2)],
    )
    story.mood = "proud"


PLOTS = (lost, bought, broken, in_a_tree, in_the_water, present, seeds)
