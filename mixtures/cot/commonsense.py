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
        "Copy out the choice that makes the most sense.\n\n{question}",
        "There are five possibilities, and one is clearly better than the rest. Name it. {question}",
        "Think of everyday life and reply in a few words, taken from the list.\n\n{question}",
        "{question}\n\nMost people would say:",
        "A quiz master reads this out to you. What is your answer?\n\n{question}",
        "Answer by repeating one option word for word, without comment: {question}",
    ),
    reasoning=(
        ("{question}\n\nThink about each option, then decide.", "{rationale} So the answer is {answer}."),
        (
            "Give a reason based on common sense before you answer.\n\n{question}",
            "{rationale} Therefore, the answer is {answer}.",
        ),
        (
            "{question}\n\nWhich choice is best, and why? Begin with the why.",
            "{rationale} The best answer is {answer}.",
        ),
        (
            "Everyday reasoning exercise. State the relevant facts and draw your conclusion.\n\n{question}",
            "{rationale} From this we conclude that the answer is {answer}.",
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
        ("Justify first, answer second.\n\n{question}", "{rationale} All in all, the answer is {answer}."),
        (
            "What do we know about the things named in this question? Use it to answer.\n\n{question}",
            "{rationale} Given this, the answer is {answer}.",
        ),
    ),
)

COT_ECQA_INVERTED = question_from(
    COT_ECQA,
    '{rationale} Hence the answer is "{given}".\n\nWrite the commonsense question, with five options, that was answered in this way.',
    'Which question with five options leads to the answer "{given}" by this train of thought? {rationale}',
    "Answer: {given}\nReason: {rationale}\nQuestion and options:",
    'Someone picked "{given}" from a list and explained: {rationale} What had they been asked, and what was on the list?',
    "Compose a question about everyday life with five options. The facts needed to answer it are these: {rationale} "
    'The right option is "{given}".',
    "Work backwards from an explanation to the question it belongs to, and give the choices too.\n\n"
    "Explanation: {rationale}",
    'Design a multiple-choice item for a test of common sense in which "{given}" is correct because of the following.'
    "\n\n{rationale}",
    '{rationale}\n\nWhat question could this be the explanation for? List its options as well, with "{given}" as the right one.',
    'You set multiple-choice questions for a quiz. Set one with the answer "{given}" and this background: {rationale}',
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
        "Reply with the label of a sentence and nothing more. {question}",
        "One sentence describes something that could happen, and the other does not. {question}",
        "{question}\n\nThat would be",
        "Common sense check. {question}\n\nYour verdict:",
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
        ("{question}\n\nLet's think about it.", "{rationale} The answer is {answer}."),
        (
            "Give the fact that settles the matter, followed by your answer. {question}",
            "{rationale} Given that fact, the answer is {answer}.",
        ),
        (
            "You weed out sentences that defy common sense. Before you name one, you note your reason.\n\n{question}",
            "{rationale} For that reason, the answer is {answer}.",
        ),
        (
            "To which sentence would a listener object? Give the reason for the objection, then the sentence.\n\n{question}",
            "{rationale} Hence the answer is {answer}.",
        ),
        ("Question: {question}\n\nReason, then answer:", "{rationale} Consequently, the answer is {answer}."),
        (
            "Show that you have understood both sentences by stating what makes only one of them plausible.\n\n"
            "{question}",
            "{rationale} This shows that the answer is {answer}.",
        ),
        (
            "Step by step: what does each sentence claim, and can that be true? {question}",
            "{rationale} Thus the answer is {answer}.",
        ),
        (
            "{question}\n\nPut a one-line explanation before your choice.",
            "Explanation: {rationale} The answer is {answer}.",
        ),
    ),
)

COT_SENSEMAKING_INVERTED = question_from(
    COT_SENSEMAKING,
    "Write two sentences, labelled Sentence A and Sentence B, of which {given} is absurd for this reason: {rationale} "
    "Then ask for the absurd one.",
    "Reason: {rationale}\nAnswer: {given}\nQuestion with both sentences:",
    "{rationale}\n\nThis explains what is wrong with {given}. Recover the pair of sentences and the question about them.",
    "For a test of common sense, invent a question that offers two nearly equal sentences. "
    "{given} should go against common sense for this reason: {rationale}",
    "Somebody rejected {given} and said: {rationale} Which two sentences had they been shown, and how was the "
    "question put?",
    "What item of a common sense test has the key {given} and the following comment?\n\n{rationale}",
    "Use the fact to build a question in which one sentence makes sense and the other does not. Fact: {rationale}\n\n"
    "The nonsensical one has to be {given}.",
    "Somebody was asked which of two sentences is nonsense, replied {given} and gave these grounds: {rationale} "
    "Write out the question, sentences included.",
    "Given a remark about the world, make up a sensible sentence and a nonsensical one, and ask which of them makes no sense."
    "\n\nRemark: {rationale}",
    "Two sentences were compared for good sense. Work out the question.\nReply: {given}\nGrounds for the reply: {rationale}",
)
