"""The embedded corpus's grammar: rules as data, no code.

``{name}`` in an alternative stands for a random alternative of rule ``name``. The start rules are named
``<task>:<label>`` and map alternatives to weights; `aura_study.data.embedded` expands them. The language is clean: the
strongest word is a mild insult.

What makes the tasks learnable but not trivial: the cue words of a label also stand, negated, literal, ironic, quoted or
about somebody else, in sentences of the other label.
"""

RULES: dict[str, tuple[str, ...]] = {
    # shared
    "topic": (
        "the new bus timetable", "the match last night", "the budget meeting", "this phone update", "the school play",
        "the village fair", "my sister's wedding", "the garden project", "the quiz on Friday", "the tax form",
        "the train to Leeds", "the street party", "our summer trip", "the choir rehearsal", "the job interview",
        "the chess club", "the cake recipe", "the office move", "the road closure", "the book group", "the new website",
        "the charity run", "the kitchen repair", "the housing vote", "the weather forecast", "the parking plan",
        "the library opening", "the history exam", "the swimming lesson", "the second episode", "the science museum",
    ),
    "time": (
        "today", "last night", "this morning", "on Monday", "again", "at noon", "all week", "after lunch", "on Sunday",
        "yesterday", "at five", "this year", "tonight", "before breakfast", "over the weekend", "the other day",
    ),
    "person": (
        "my brother", "Anna", "the teacher", "our neighbour", "Tom", "my boss", "the coach", "Grandma", "the waiter",
        "a friend", "Priya", "the bus driver", "my cousin", "Luca", "the landlord", "a colleague", "the doctor", "Mei",
    ),
    "opener": (
        "", "", "", "", "honestly, ", "look, ", "well, ", "ok so ", "@user ", "@user @user ", "seriously, ", "hey, ",
        "right, ", "so ", "once more: ", "just saying, ", "hmm, ", "@user well, ",
    ),
    "closer": (
        "", "", "", "", ".", "!", "!!", " lol", " smh", " #fail", " #mondays", "...", " tbh", " for real", " ok?",
        " haha", " #justsaying", " and that is that",
    ),
    "scorn": (
        "complete", "total", "utter", "pathetic", "hopeless", "silly", "useless", "clueless", "tiresome", "lazy",
        "ridiculous", "miserable", "pompous", "dim",
    ),
    "fool": (
        "fool", "clown", "donkey", "muppet", "twit", "goose", "buffoon", "nitwit", "windbag", "dimwit", "turnip",
        "dunce", "weasel", "bore", "crybaby", "sheep",
    ),
    # toxicity
    "dismiss": (
        "go back to sleep", "log off", "do us all a favour and stay quiet", "try thinking for once", "just go away",
        "take your noise elsewhere", "nobody will miss you", "find a hobby", "stop wasting our time",
    ),
    "wreck": ("ruined", "broke", "spoiled", "wrecked", "messed up", "sank", "embarrassed us at"),
    "rescue": ("saved", "fixed", "sorted out", "organised", "rescued", "improved", "helped with"),
    "view": (
        "i quite liked", "i missed", "i am looking forward to", "we talked for hours about", "there were problems with",
        "nobody expected much from", "i have mixed feelings about", "please send me details of", "i lost track of",
        "it is a shame about", "the kids loved", "i was bored by", "everyone complains about",
    ),
    "because": (
        "because it rained", "and the tea was cold", "but the queue was long", "so i left early", "as always",
        "and i would do it again", "though it cost too much", "which took an hour", "and so did {person}",
        "even if {person} did not", "but {person} was late", "since {person} asked",
    ),
    "literal": (
        "the clown at the fair juggled six eggs", "our goose laid an egg", "the donkey carried the bags",
        "we made turnip soup", "the sheep slept by the gate", "the muppet show was on", "a weasel ran past the shed",
        "the play has a fool and a king", "the dunce cap hung on the wall",
    ),
    # sentiment
    "aspect": (
        "the acting", "the script", "the plot", "the score", "the camera work", "the dialogue", "the ending",
        "the cast",
        "the pacing", "the lead", "the humour", "the editing", "the direction", "the romance", "the first hour",
        "the final act", "the set design", "the villain", "the soundtrack", "the opening scene",
    ),
    "good": (
        "superb", "warm", "witty", "gripping", "charming", "clever", "tender", "sharp", "inventive", "funny", "moving",
        "fresh", "honest", "graceful", "thrilling", "delightful",
    ),
    "bad": (
        "dull", "clumsy", "flat", "tedious", "hollow", "limp", "stale", "noisy", "shallow", "predictable", "tired",
        "muddled", "bland", "forced", "lifeless", "sloppy",
    ),
    "kind": (
        "thriller", "comedy", "drama", "documentary", "western", "musical", "sequel", "love story", "heist film",
        "costume drama", "ghost story", "family film", "war film", "road movie",
    ),
    "size": ("small", "long", "French", "quiet", "late-night", "big-budget", "black-and-white", "loud", "low-key"),
    "hedge": ("rather", "truly", "quite", "really", "somewhat", "surprisingly", "deeply", "almost", "wonderfully"),
    "chore": (
        "watching paint dry", "a wet bus stop", "reading a phone book", "filing receipts", "a dentist's waiting room",
        "cold porridge", "a power cut",
    ),
    "viewing": (
        "", "", "", " for a {size} {kind}", " in this {size} {kind}", ", says {person}", " from start to finish",
        " and {person} agreed", " in a {kind}", ", even on a small screen",
    ),
    # emotion: cues and situations
    "cue:anger": ("furious", "livid", "angry", "fuming", "irritated", "annoyed", "outraged"),
    "cue:disgust": ("disgusted", "repulsed", "grossed out", "revolted", "queasy", "sickened"),
    "cue:fear": ("scared", "afraid", "terrified", "nervous", "anxious", "worried", "uneasy"),
    "cue:joy": ("happy", "delighted", "thrilled", "glad", "grateful", "proud", "excited", "cheerful"),
    "cue:sadness": ("sad", "heartbroken", "gloomy", "lonely", "downhearted", "tearful", "blue"),
    "cue:surprise": ("surprised", "astonished", "stunned", "baffled", "startled", "taken aback", "puzzled"),
    "feeling": (
        "{cue:anger}", "{cue:disgust}", "{cue:fear}", "{cue:joy}", "{cue:sadness}", "{cue:surprise}",
    ),
    "case:anger": (
        "they cancelled {topic} without a word", "{person} broke a promise about {topic} yet again",
        "{person} blamed me for {topic}", "somebody scratched the car during {topic}", "{person} lied about {topic}",
        "who gave {person} the right to change {topic}", "i can not believe {person} did that at {topic}",
    ),
    "case:disgust": (
        "there was mould on the food at {topic}", "{person} chewed with an open mouth all through {topic}",
        "the bins smelled during {topic}", "{person} left old socks in the sink before {topic}",
        "a hair was in the soup at {topic}", "i had to look away at {topic}",
    ),
    "case:fear": (
        "my hands shake when i think of {topic}", "what if {topic} goes wrong",
        "someone followed {person} after {topic}",
        "the lights went out during {topic}", "i can not sleep before {topic}", "i had to look away at {topic}",
    ),
    "case:joy": (
        "{topic} was the best day in months", "{person} hugged everyone at {topic}", "we won at {topic}",
        "i love every minute of {topic}", "{person} deserves thanks for {topic}",
        "{person} made us all laugh at {topic}",
        "i can not believe {person} did that at {topic}", "{person} said yes at {topic}",
    ),
    "case:sadness": (
        "{person} will not be at {topic} any more", "i cried all through {topic}", "{topic} is over for good",
        "we lost {person} before {topic}", "nobody came to {topic}", "i miss {person} since {topic}",
    ),
    "case:surprise": (
        "wait, {person} came to {topic}", "who knew {topic} would end like that",
        "{person} never said a word before {topic}",
        "i had no idea about {topic}", "out of nowhere {person} sang at {topic}", "how is {topic} even possible",
    ),
    "fact": (
        "{topic} starts {time}", "{person} mentioned {topic} {time}", "{topic} is near the station",
        "{person} reads about {topic}",
        "the notes on {topic} are in the folder", "{person} asked when {topic} ends", "{topic} takes two hours {time}",
        "{person} will write to {person} about {topic}", "the door is open during {topic}",
    ),
    "join": ("and", "but", "and now", "but then", "while", "and at the same time", "yet"),
    # reporting
    "praise": (
        "you did well at {topic}", "{topic} was a joy", "you look great {time}", "i am proud of you",
        "your work on {topic} is {good}", "we all enjoyed {topic}",
    ),
    "insult": (
        "you are a {scorn} {fool}", "you {wreck} {topic}", "your work on {topic} is {bad}", "what a {scorn} {fool}",
        "{dismiss}", "nobody asked you about {topic}", "only a {fool} likes {topic}", "{topic} was a waste of time",
    ),
    "remark": ("{praise}", "{insult}", "{insult}", "{insult}", "{topic} starts {time}"),
    "speaker": (
        "{person}", "{person}", "a witness", "the report", "the message", "the minutes", "someone in the crowd", "she",
        "he", "the review", "the letter", "they", "a stranger",
    ),
    "said": (
        "said", "wrote", "shouted", "claimed", "posted", "told me", "whispered", "insisted", "repeated", "replied",
    ),
    "address": (
        "listen, ", "look, ", "i tell you, ", "hey you, ", "believe me, ", "my view: ", "in my view, ", "{person}, ",
        "to be clear, ", "i say it to your face: ", "you heard me: ",
    ),
}  # fmt: skip

_CUE_FORMS = {
    "i am so {{cue:{0}}} about {{topic}}": 3.0,
    "{{topic}} left me {{cue:{0}}} {{time}}": 2.0,
    "{{case:{0}}}": 5.0,
    "{{person}} was {{feeling}}, but i am {{cue:{0}}} about {{topic}}": 2.0,
    "i was {{feeling}} before {{topic}}, now only {{cue:{0}}}": 1.5,
    "not {{feeling}}, just {{cue:{0}}} after {{topic}}": 1.5,
}

START: dict[str, dict[str, float]] = {
    "toxicity:toxic": {
        "{opener}you are a {scorn} {fool}, you {wreck} {topic}{closer}": 3,
        "{opener}what a {fool}, {dismiss} about {topic}{closer}": 2,
        "{opener}nobody asked you about {topic}, {dismiss}{closer}": 2,
        "{opener}you would lose an argument about {topic} to a {fool}{closer}": 1.5,
        "{opener}do not say you are no {fool} after {topic}, {dismiss}{closer}": 1.5,
        "{opener}well done genius, you {wreck} {topic} {time}{closer}": 2,
        "{opener}{view} {topic} until {scorn} people like you turned up{closer}": 2,
        "{opener}only a {scorn} {fool} would like {topic} {because}{closer}": 1.5,
    },
    "toxicity:not toxic": {
        "{opener}{view} {topic} {because}{closer}": 4,
        "{opener}you are no {fool}, you {rescue} {topic}{closer}": 2,
        "{opener}i never said you were a {scorn} {fool}, i said {view} {topic}{closer}": 1.5,
        "{opener}{literal} at {topic} {because}{closer}": 2,
        "{opener}i was a {scorn} {fool} to miss {topic}{closer}": 2,
        "{opener}well done genius, you {rescue} {topic} {time}{closer}": 1.5,
        "{opener}i should log off, {view} {topic} and {person} will not wait{closer}": 1,
        "{opener}i disagree with you about {topic}, but do not go away {because}{closer}": 1.5,
        "{opener}happy birthday you old {fool}, see you at {topic}{closer}": 1,
    },
    "sentiment:positive": {
        "{aspect} is {hedge} {good} and {aspect} is {good}{viewing}": 4,
        "a {hedge} {good}, {good} {kind} with {aspect} to match": 2,
        "{aspect} is not {bad} at all{viewing}": 2,
        "{aspect} may be {bad}, but {aspect} is {hedge} {good}{viewing}": 2.5,
        "far from {bad}, this {size} {kind} is {good}{viewing}": 1.5,
        "i expected a {bad} {kind} and got a {good} one": 1.5,
        "never {bad}, {aspect} stays {good}{viewing}": 1,
        "{aspect} is anything but {bad}, {aspect} is no worse": 1,
    },
    "sentiment:negative": {
        "{aspect} is {hedge} {bad} and {aspect} is {bad}{viewing}": 4,
        "a {hedge} {bad}, {bad} {kind} with {aspect} to match": 2,
        "{aspect} is not {good} at all{viewing}": 2,
        "{aspect} may be {good}, but {aspect} is {hedge} {bad}{viewing}": 2.5,
        "far from {good}, this {size} {kind} is {bad}{viewing}": 1.5,
        "i expected a {good} {kind} and got a {bad} one": 1.5,
        "oh {good}, another {size} {kind} in which {aspect} falls asleep": 1,
        "{aspect} is as {good} as {chore}{viewing}": 1,
        "{aspect} is anything but {good}, {aspect} is no better": 1,
    },
    **{
        f"emotion:{emotion}": {form.format(emotion): weight for form, weight in _CUE_FORMS.items()}
        for emotion in ("anger", "disgust", "fear", "joy", "sadness", "surprise")
    },
    "emotion:neutral": {
        "{fact}": 4,
        "{fact}, {because}": 3,
        "i am neither {feeling} nor {feeling} about {topic}": 1.5,
        "{person} asked whether i was {feeling} about {topic} {time}": 1,
        "{fact} and {fact}": 2,
    },
    "reporting:reported": {
        "{speaker} {said}: '{remark}'": 4,
        "according to {person}, {remark}": 2,
        "{speaker} {said} that {topic} was {bad}": 1.5,
        "{person} called {person} a {scorn} {fool} at {topic}": 2,
        "the rules list '{scorn} {fool}' as an insult at {topic}": 1,
        "apparently i am a {scorn} {fool} now, in the words of {person}": 1,
        "i heard this: {remark}, or so {speaker} {said}": 1.5,
    },
    "reporting:direct": {
        "{remark}": 3,
        "{address}{remark}": 3,
        "tell {person} this: {remark}": 1,
        "you and your '{fool}' friends, {remark}": 1.5,
        "you said you liked {topic}, {remark}": 1.5,
        "do not quote me on this, but {remark}": 1,
        "{person} is a {scorn} {fool} at {topic}": 2,
        "'{fool}' is the word for you: {remark}": 1,
    },
}
