"""The words of the embedded corpus, in English and Chinese side by side.

Each entry carries what the simulation needs to know about it (does it float? does it break?), so that
what happens in a story follows from what its things are. Names have a fixed pronoun: a story never
changes the gender of a person.
"""

from typing import NamedTuple


class Word(NamedTuple):
    """One idea in both languages."""

    en: str
    zh: str


class Name(NamedTuple):
    """A proper name with the one pronoun that belongs to it (English, Chinese)."""

    text: str
    pronoun: str


class ThingWord(NamedTuple):
    """A thing one can carry: both names, the Chinese measure word, and what it is like.

    `tags` is a set of letters: f floats, s sinks, b breaks, l light enough for the wind, c has a colour,
    g a present one can buy or make.
    """

    en: str
    zh: str
    measure: str
    tags: str


class FoodWord(NamedTuple):
    """Something to eat that one can count."""

    en: str
    plural: str
    zh: str
    measure: str


class PlaceWord(NamedTuple):
    """A place: the English noun and its phrase of location, the Chinese destination and location.

    `tags` is a set of letters: o outdoors, i indoors, w by the water, d dark, g things grow there, v one can visit
    somebody there.
    """

    en: str
    at_en: str
    zh: str
    at_zh: str
    tags: str


class Species(NamedTuple):
    """An animal that can be the hero of a story, with facts about its kind."""

    en: str
    plural: str
    zh: str
    measure: str
    look: Word
    food: Word
    skill: Word


def _names(pronoun: str, names: str) -> tuple[Name, ...]:
    return tuple(Name(name, pronoun) for name in names.split())


# Tables stay one entry after another: they are read as lists of words, not as code.
# fmt: off
CHILD_NAMES = {
    "en": _names("she", "Anna Bella Clara Daisy Emma Grace Holly Iris Julia Kate Lily Lucy Molly Nina Rose Sara Sophie "
                        "Tina Wendy Zara")
        + _names("he", "Adam Brian Carl David Eric Felix George Henry Jason Kevin Liam Mark Nick Oscar Peter Ryan Simon "
                       "Tom Victor Will"),
    "zh": _names("她", "小红 丽丽 小雨 婷婷 小云 芳芳 小月 美美 小兰 静静 小雪 文文 小玲 佳佳 小燕 晶晶 小梅 欣欣 圆圆 小琴")
        + _names("他", "小明 小刚 强强 小军 冬冬 小亮 阿宝 小虎 亮亮 小杰 大伟 小龙 波波 小勇 浩浩 小东 阿力 小峰 志明 小磊"),
}
PET_NAMES = {
    "en": _names("she", "Coco Dot Fern Honey Maple Penny Poppy Ruby Tilly Willow")
        + _names("he", "Biscuit Bruno Chip Dusty Hugo Milo Pip Rocky Teddy Ziggy"),
    "zh": _names("它", "跳跳 毛毛 豆豆 点点 球球 胖胖 果果 米米 花花 皮皮 咪咪 闪闪 丁丁 当当 糖糖 妞妞 灰灰 卷卷 朵朵 呼呼"),
}

SPECIES = (
    Species("rabbit", "rabbits", "小兔子", "只", Word("long ears", "长长的耳朵"), Word("carrots", "胡萝卜"),
            Word("jump high", "跳得很高")),
    Species("bear", "bears", "小熊", "只", Word("thick fur", "厚厚的毛"), Word("honey", "蜂蜜"),
            Word("climb trees", "爬树")),
    Species("fox", "foxes", "小狐狸", "只", Word("a big tail", "大大的尾巴"), Word("berries", "浆果"),
            Word("run fast", "跑得很快")),
    Species("duck", "ducks", "小鸭子", "只", Word("a flat beak", "扁扁的嘴巴"), Word("water plants", "水草"),
            Word("swim well", "游泳")),
    Species("squirrel", "squirrels", "小松鼠", "只", Word("a fluffy tail", "蓬松的尾巴"), Word("nuts", "坚果"),
            Word("climb trees", "爬树")),
    Species("mouse", "mice", "小老鼠", "只", Word("a thin tail", "细细的尾巴"), Word("cheese", "奶酪"),
            Word("hide in small holes", "钻小洞")),
    Species("hedgehog", "hedgehogs", "小刺猬", "只", Word("sharp spines", "尖尖的刺"), Word("apples", "苹果"),
            Word("roll into a ball", "缩成一团")),
    Species("deer", "deer", "小鹿", "只", Word("thin legs", "细细的腿"), Word("fresh leaves", "嫩叶"),
            Word("run fast", "跑得很快")),
    Species("frog", "frogs", "小青蛙", "只", Word("a wide mouth", "大大的嘴巴"), Word("flies", "小飞虫"),
            Word("jump high", "跳得很高")),
    Species("elephant", "elephants", "小象", "头", Word("a long nose", "长长的鼻子"), Word("bananas", "香蕉"),
            Word("carry heavy things", "搬很重的东西")),
    Species("monkey", "monkeys", "小猴子", "只", Word("long arms", "长长的胳膊"), Word("peaches", "桃子"),
            Word("climb trees", "爬树")),
    Species("cat", "cats", "小猫", "只", Word("soft fur", "柔软的毛"), Word("fish", "鱼"),
            Word("walk without a sound", "悄悄地走路")),
    Species("dog", "dogs", "小狗", "只", Word("a wet nose", "湿湿的鼻子"), Word("bones", "骨头"),
            Word("run fast", "跑得很快")),
    Species("sheep", "sheep", "小羊", "只", Word("white wool", "白白的毛"), Word("grass", "青草"),
            Word("climb hills", "爬山坡")),
    Species("pig", "pigs", "小猪", "只", Word("a round nose", "圆圆的鼻子"), Word("corn", "玉米"),
            Word("find food by its smell", "用鼻子找吃的")),
    Species("penguin", "penguins", "小企鹅", "只", Word("a white belly", "白白的肚子"), Word("fish", "鱼"),
            Word("swim well", "游泳")),
)

PLACES = (
    PlaceWord("garden", "in the garden", "花园", "花园里", "og"),
    PlaceWord("park", "in the park", "公园", "公园里", "o"),
    PlaceWord("forest", "in the forest", "树林", "树林里", "od"),
    PlaceWord("river", "by the river", "河边", "河边", "ow"),
    PlaceWord("lake", "by the lake", "湖边", "湖边", "owv"),
    PlaceWord("beach", "on the beach", "海滩", "海滩上", "owv"),
    PlaceWord("hill", "on the hill", "小山", "小山上", "ov"),
    PlaceWord("farm", "on the farm", "农场", "农场里", "ogv"),
    PlaceWord("playground", "on the playground", "操场", "操场上", "o"),
    PlaceWord("library", "in the library", "图书馆", "图书馆里", "i"),
    PlaceWord("school", "at the school", "学校", "学校里", "i"),
    PlaceWord("barn", "in the barn", "谷仓", "谷仓里", "id"),
    PlaceWord("station", "at the station", "车站", "车站", "i"),
    PlaceWord("bridge", "on the bridge", "小桥", "小桥上", "ow"),
)
SHOPS = (
    Word("market", "集市"), Word("toy shop", "玩具店"), Word("little shop", "小商店"), Word("corner shop", "街角的商店"),
)
SPOTS = (
    Word("under the bed", "床底下"), Word("behind the door", "门后面"), Word("on the shelf", "架子上"),
    Word("in the drawer", "抽屉里"), Word("under the table", "桌子底下"), Word("beside the window", "窗户旁边"),
    Word("under the old tree", "老树下"), Word("beside the well", "井边"), Word("in the tall grass", "草丛里"),
    Word("behind the big rock", "大石头后面"), Word("on the bench", "长椅上"), Word("in the old boat", "旧船里"),
    Word("under the stairs", "楼梯下面"), Word("between the flower pots", "花盆中间"), Word("behind the fence", "篱笆后面"),
)

THINGS = (
    ThingWord("ball", "皮球", "个", "flcg"), ThingWord("kite", "风筝", "只", "lcg"),
    ThingWord("hat", "帽子", "顶", "flcg"), ThingWord("scarf", "围巾", "条", "lcg"),
    ThingWord("book", "书", "本", "cg"), ThingWord("cup", "杯子", "个", "sbcg"),
    ThingWord("toy boat", "玩具船", "只", "fcg"), ThingWord("toy car", "玩具车", "辆", "scg"),
    ThingWord("key", "钥匙", "把", "s"), ThingWord("bell", "铃铛", "个", "scg"),
    ThingWord("basket", "篮子", "个", "fcg"), ThingWord("drum", "小鼓", "面", "cg"),
    ThingWord("flute", "笛子", "支", "fcg"), ThingWord("lamp", "灯", "盏", "sbcg"),
    ThingWord("vase", "花瓶", "个", "sbcg"), ThingWord("bowl", "碗", "个", "sbcg"),
    ThingWord("plate", "盘子", "个", "sbcg"), ThingWord("mirror", "镜子", "面", "sbcg"),
    ThingWord("paper plane", "纸飞机", "架", "lcg"), ThingWord("ribbon", "丝带", "条", "lcg"),
    ThingWord("blanket", "毯子", "条", "cg"), ThingWord("pencil", "铅笔", "支", "fcg"),
    ThingWord("bag", "书包", "个", "cg"), ThingWord("doll", "娃娃", "个", "cg"),
    ThingWord("stone", "石头", "块", "sc"), ThingWord("coin", "硬币", "枚", "s"),
    ThingWord("spoon", "勺子", "把", "scg"), ThingWord("leaf", "树叶", "片", "flc"),
    ThingWord("feather", "羽毛", "根", "flc"), ThingWord("wooden horse", "木马", "匹", "fcg"),
)
FOODS = (
    FoodWord("apple", "apples", "苹果", "个"), FoodWord("pear", "pears", "梨", "个"),
    FoodWord("peach", "peaches", "桃子", "个"), FoodWord("cookie", "cookies", "饼干", "块"),
    FoodWord("carrot", "carrots", "胡萝卜", "根"), FoodWord("egg", "eggs", "鸡蛋", "个"),
    FoodWord("orange", "oranges", "橘子", "个"), FoodWord("strawberry", "strawberries", "草莓", "颗"),
    FoodWord("banana", "bananas", "香蕉", "根"), FoodWord("potato", "potatoes", "土豆", "个"),
    FoodWord("tomato", "tomatoes", "西红柿", "个"), FoodWord("dumpling", "dumplings", "饺子", "个"),
    FoodWord("nut", "nuts", "坚果", "颗"), FoodWord("plum", "plums", "李子", "个"),
)
FLOWERS = (
    Word("roses", "玫瑰"), Word("tulips", "郁金香"), Word("lilies", "百合"), Word("daisies", "雏菊"),
)
COLORS = (
    Word("red", "红色"), Word("blue", "蓝色"), Word("green", "绿色"), Word("yellow", "黄色"), Word("white", "白色"),
    Word("black", "黑色"), Word("purple", "紫色"), Word("orange", "橙色"), Word("pink", "粉色"), Word("brown", "棕色"),
)
GROWN_UPS = (
    Word("Grandma", "奶奶"), Word("Grandpa", "爷爷"), Word("the baker", "面包师"), Word("the farmer", "农夫"),
    Word("the teacher", "老师"), Word("the postman", "邮递员"), Word("the fisherman", "渔夫"), Word("the doctor", "医生"),
)
CHORES = (
    Word("sweep the floor", "扫地"), Word("wash the windows", "擦窗户"), Word("water the plants", "浇花"),
    Word("carry the bags", "提袋子"), Word("feed the chickens", "喂鸡"), Word("pick the apples", "摘苹果"),
)
WEATHERS = (
    Word("sunny", "晴朗的"), Word("warm", "温暖的"), Word("windy", "有风的"), Word("cool", "凉爽的"),
    Word("bright", "明亮的"), Word("quiet", "安静的"),
)
TIMES = (Word("morning", "早晨"), Word("afternoon", "下午"), Word("day", "日子"))
SKILLS = (
    Word("swim", "游泳"), Word("ride a bicycle", "骑自行车"), Word("draw a horse", "画马"), Word("whistle", "吹口哨"),
    Word("play the flute", "吹笛子"), Word("skip rope", "跳绳"), Word("tell the time", "看钟表"),
    Word("tie a knot", "打绳结"), Word("bake bread", "烤面包"), Word("sing a new song", "唱一首新歌"),
)
GAMES = (
    Word("hide and seek", "捉迷藏"), Word("hopscotch", "跳房子"), Word("marbles", "弹珠"), Word("cards", "纸牌"),
    Word("checkers", "跳棋"),
)
NOISE_MAKERS = (
    Word("an owl", "猫头鹰"), Word("a lost kitten", "迷路的小猫"), Word("the wind", "风"), Word("a baby bird", "小鸟"),
    Word("an old door", "旧门"), Word("a hungry mouse", "饿肚子的老鼠"),
)
HEAVY = (
    Word("a big box", "大箱子"), Word("a long log", "长木头"), Word("a box of books", "一箱书"),
    Word("a sack of rice", "一袋米"), Word("a round table", "圆桌子"), Word("a bucket of water", "一桶水"),
)
DISHES = (
    Word("vegetable soup", "蔬菜汤"), Word("apple pie", "苹果派"), Word("fried rice", "炒饭"), Word("noodles", "面条"),
    Word("pancakes", "煎饼"), Word("a birthday cake", "生日蛋糕"),
)
INGREDIENTS = (
    Word("salt", "盐"), Word("sugar", "糖"), Word("milk", "牛奶"), Word("butter", "黄油"), Word("flour", "面粉"),
    Word("oil", "油"), Word("onions", "洋葱"),
)
RELATIVES = (Word("aunt", "姑姑"), Word("uncle", "叔叔"), Word("cousin", "表哥"), Word("sister", "姐姐"))
TRANSPORTS = (Word("train", "火车"), Word("bus", "公共汽车"), Word("boat", "小船"), Word("bicycle", "自行车"))
OPPOSITES = (
    (Word("big", "大"), Word("small", "小")), (Word("hot", "热"), Word("cold", "冷")),
    (Word("long", "长"), Word("short", "短")), (Word("fast", "快"), Word("slow", "慢")),
    (Word("new", "新"), Word("old", "旧")), (Word("high", "高"), Word("low", "低")),
    (Word("light", "轻"), Word("heavy", "重")), (Word("open", "开"), Word("closed", "关")),
    (Word("day", "白天"), Word("night", "黑夜")), (Word("up", "上"), Word("down", "下")),
    (Word("left", "左"), Word("right", "右")), (Word("full", "满"), Word("empty", "空")),
    (Word("near", "近"), Word("far", "远")), (Word("many", "多"), Word("few", "少")),
    (Word("clean", "干净"), Word("dirty", "脏")), (Word("early", "早"), Word("late", "晚")),
)
COLOR_OF = (
    (Word("the sky", "天空"), Word("blue", "蓝色")), (Word("grass", "草"), Word("green", "绿色")),
    (Word("snow", "雪"), Word("white", "白色")), (Word("the night", "夜晚"), Word("black", "黑色")),
    (Word("a banana", "香蕉"), Word("yellow", "黄色")), (Word("a tomato", "西红柿"), Word("red", "红色")),
    (Word("a carrot", "胡萝卜"), Word("orange", "橙色")), (Word("milk", "牛奶"), Word("white", "白色")),
    (Word("a leaf", "树叶"), Word("green", "绿色")), (Word("the sea", "大海"), Word("blue", "蓝色")),
    (Word("chocolate", "巧克力"), Word("brown", "棕色")), (Word("an orange", "橘子"), Word("orange", "橙色")),
)
WEEKDAYS = (
    Word("Monday", "星期一"), Word("Tuesday", "星期二"), Word("Wednesday", "星期三"), Word("Thursday", "星期四"),
    Word("Friday", "星期五"), Word("Saturday", "星期六"), Word("Sunday", "星期日"),
)

NUMBERS_EN = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)
# fmt: on
DIGITS_ZH = "零一二三四五六七八九"


def number_en(value: int) -> str:
    """An English number word for 0–20."""
    return NUMBERS_EN[value]


def number_zh(value: int) -> str:
    """A Chinese numeral for 0–99."""
    tens, ones = divmod(value, 10)
    if tens == 0:
        return DIGITS_ZH[ones]
    return ("" if tens == 1 else DIGITS_ZH[tens]) + "十" + (DIGITS_ZH[ones] if ones else "")


def counted_zh(value: int, measure: str) -> str:
    """A Chinese amount with its measure word; two of something is 两, not 二."""
    return ("两" if value == 2 else number_zh(value)) + measure


def article(noun: str) -> str:
    """The noun with its indefinite article ("an apple", "a cup")."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun
