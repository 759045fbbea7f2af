"""Chains of thought in common sense: the likeliest answer, and the sentence that cannot be."""

from mixtures.cot.shared import cot_task, question_from

COT_ECQA = cot_task(
    "ecqa",
    cluster="cot_commonsense",
    title="ECQA",
    direct=(
        "{question}\n\nWhich option fits best?",
        "Commonsense question: {question}\n\nAnswer:",
        "Use what everybody knows about the world to answer.\n\n{question}",
        "{question}\n\nName the most sensible choice.",
        "Out of the choices, copy the one that makes the most sense.\n\n{question}",
        "Five possibilities, one of them clearly better than the rest. {question}",
        "Think of everyday life and reply in a few words, taken from the list.\n\n{question}",
        "{question}\n\nMost people would say:",
        "A quiz master reads this out to you. What do you call back?\n\n{question}",
        "Answer the question by repeating an option, without comment. {question}",
    ),
    reasoning=(
        ("{question}\n\nThink about each option, then decide.", "{rationale} So the answer is {answer}."),
        (
            "Give a reason based on common sense before you answer.\n\n{question}",
            "{rationale} Therefore, the answer is {answer}.",
        ),
        (
            "{question}\n\nWhat is the best choice, and what speaks for it? Begin with what speaks for it.",
            "{rationale} The best answer is {answer}.",
        ),
        (
            "Everyday reasoning exercise. State the relevant facts and draw your conclusion.\n\n{question}",
            "{rationale} From this, the answer is {answer}.",
        ),
        (
            "Explain to a child how one can tell the right choice here: {question}",
            "{rationale} That is how we know that the answer is {answer}.",
        ),
        ("Question and options: {question}\n\nReasoning and answer:", "{rationale} The answer is {answer}."),
        (
            "Let's be careful and go through this step by step. {question}",
            "{rationale} Thus the answer is {answer}.",
        ),
        (
            "I am not sure which option to take. Can you talk me through it?\n\n{question}",
            "{rationale} Hence the answer is {answer}.",
        ),
        ("Justify first, answer second.\n\n{question}", "{rationale} All in all, the answer is {answer}"),
        (
            "What do we know about the things named in this question? Use it to answer.\n\n{question}",
            "{rationale} Given this, the answer is {answer}.",
        ),
    ),
)

COT_ECQA_INVERTED = question_from(
    COT_ECQA,
    '{rationale} Hence "{given}".\n\nWrite the commonsense question, with five options, that was answered like this.',
    'Which question leads to the answer "{given}" by this train of thought? {rationale}',
    "Answer: {given}\nReason: {rationale}\nQuestion and options:",
    'Someone picked "{given}" from a list and explained: {rationale} What had they been asked, and what was on the list?',
    "Compose a question about everyday life. The facts needed to answer it are these: {rationale} "
    'The right option is "{given}".',
    "Work backwards from an explanation to the question it belongs to, and give the choices too.\n\n"
    "Explanation: {rationale}",
    'Design a multiple-choice item for a test of common sense in which "{given}" is correct because of the following.'
    "\n\n{rationale}",
    '{rationale}\n\nWhat question could this be the explanation for? The answer to it is "{given}".',
    'You set the questions for a quiz. Set one that has "{given}" as its answer and this as its background: {rationale}',
    "Here are a fact sheet and an answer. Produce the matching question with its options.\n\n"
    "Fact sheet: {rationale}\nAnswer: {given}",
)

COT_SENSEMAKING = cot_task(
    "sensemaking",
    cluster="cot_commonsense",
    title="Sense-Making",
    direct=(
        '{question}\n\nAnswer "Sentence A" or "Sentence B".',
        "{question}",
        "Compare the two sentences with what you know about the world.\n\n{question}\n\nAnswer:",
        "A robot is learning common sense. Help it with this one.\n\n{question}",
        "Say which sentence it is, and no more. {question}",
        "One sentence describes something that could happen, and the other does not. {question}",
        "{question}\n\nIt is",
        "Common sense check. {question} Your verdict:",
        "Both sentences are grammatical, but they are not equally plausible.\n\n{question}\n\nThe one asked for is",
        'Please reply to this test question with A or B, preceded by the word "Sentence".\n\n{question}',
    ),
    reasoning=(
        (
            "{question}\n\nExplain what is wrong with that sentence, then name it.",
            "{rationale} So the answer is {answer}.",
        ),
        (
            "Reason about how the world works and then decide.\n\n{question}",
            "{rationale} Therefore, the answer is {answer}.",
        ),
        ("{question}\n\nLet's think about it.", "{rationale} The answer is {answer}"),
        (
            "Give the fact that settles the matter, followed by your answer. {question}",
            "{rationale} Given that fact, the answer is {answer}.",
        ),
        (
            "You mark sentences that defy common sense and note your reason in front of each mark.\n\n{question}",
            "{rationale} For that reason, the answer is {answer}.",
        ),
        (
            "Why would a listener protest? Say why, then which sentence it is.\n\n{question}",
            "{rationale} Hence the answer is {answer}.",
        ),
        ("Question: {question}\n\nReason, then answer:", "{rationale} Consequently, the answer is {answer}."),
        (
            "Show that you have understood the two sentences by stating what makes only one of them plausible.\n\n"
            "{question}",
            "{rationale} This shows that the answer is {answer}.",
        ),
        (
            "Step by step: what does each sentence claim, and can it be? {question}",
            "{rationale} Thus the answer is {answer}.",
        ),
        (
            "{question}\n\nAn explanation of one line should come before your choice.",
            "Explanation: {rationale} The answer is {answer}.",
        ),
    ),
)

COT_SENSEMAKING_INVERTED = question_from(
    COT_SENSEMAKING,
    "Write two sentences, labelled Sentence A and Sentence B, of which {given} is absurd for this reason: {rationale} "
    "Ask which one it is.",
    "Reason: {rationale}\nAnswer: {given}\nQuestion with both sentences:",
    "{rationale}\n\nThis explains what is wrong with {given}. Recover the pair of sentences and the question about them.",
    "For a test of common sense, invent a question that offers two nearly equal sentences. "
    "{given} goes against common sense, since this holds: {rationale}",
    "Somebody rejected {given} and said: {rationale} Which two sentences had they been shown, and how was the "
    "question put?",
    "What item of a common sense test has the key {given} and the following comment?\n\n{rationale}",
    "Use the fact to build a question in which one sentence makes sense and the other does not. Fact: {rationale}\n\n"
    "The senseless one is to be {given}.",
    "A question about two sentences was answered with {given}. The grounds given were these: {rationale} "
    "Write the question.",
    "Given a remark about the world, make up a sensible sentence and a senseless one, and ask for the senseless one."
    "\n\nRemark: {rationale}",
    "Work out what was asked.\nReply: {given}\nGrounds for the reply: {rationale}",
)
