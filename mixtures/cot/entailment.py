"""Chains of thought in entailment: what one sentence says about another."""

from mixtures.cot.shared import cot_task, question_from

COT_ESNLI = cot_task(
    "esnli",
    cluster="cot_entailment",
    title="e-SNLI",
    direct=(
        "{question}\n\nAnswer:",
        "{question}",
        "Judge only by what the premise says.\n\n{question}",
        "Here are a scene and a claim about it. {question}",
        "Draw the right inference, without explaining it.\n\n{question}",
        "{question}\n\nWhat can be concluded? Give the answer alone.",
        "Textual inference: {question}\n\nJudgment:",
        "Imagine the situation that is described and settle the question about it.\n\n{question}",
        "A caption tells you what is in a photo, and nothing else is known. {question}",
        "One sentence may support another, rule it out or leave it open. With this in mind, answer: {question}",
    ),
    reasoning=(
        (
            "{question}\n\nExplain how the two sentences relate, then answer.",
            '{rationale} So the answer is "{answer}".',
        ),
        (
            "Let's think about what the premise implies.\n\n{question}",
            '{rationale} Therefore, the answer is "{answer}".',
        ),
        (
            "Compare the sentences piece by piece before you decide.\n\n{question}",
            '{rationale} Hence the answer is "{answer}".',
        ),
        ("{question}\n\nRationale, followed by the judgment:", '{rationale} The answer is "{answer}".'),
        (
            "Be a good logician, who never answers without giving a reason.\n\n{question}",
            '{rationale} By this reasoning, the answer is "{answer}".',
        ),
        (
            "State what is known, what is merely assumed, and what follows.\n\n{question}",
            '{rationale} Thus the answer is "{answer}".',
        ),
        (
            "{question}\n\nFirst say in a sentence what decides the matter.",
            '{rationale} This settles it: the answer is "{answer}".',
        ),
        (
            "Must the second sentence be true, may it be, or can it not be? Give your reason, then your answer. {question}",
            '{rationale} It follows that the answer is "{answer}".',
        ),
        ("Work this inference out step by step.\n\n{question}", '{rationale} Consequently, the answer is "{answer}".'),
        (
            "Please show me how you reason here, since I got it wrong: {question}",
            '{rationale} That is why the answer is "{answer}".',
        ),
    ),
)

COT_ESNLI_INVERTED = question_from(
    COT_ESNLI,
    "Explanation: {rationale}\nAnswer: {given}\nPremise, hypothesis and question:",
    "Write a premise and a statement about it, and ask whether the statement follows. "
    'The answer is "{given}", for this reason: {rationale}',
    '{rationale}\n\nThis was said to explain the answer "{given}". '
    "What were the two sentences, and what was the question?",
    "Which premise, hypothesis and question call for the following explanation? {rationale}",
    "Invent two sentences about the same scene that stand in the relation explained here, and turn them into a "
    "question: {rationale}",
    'A student of logic answered "{given}" and justified it thus: {rationale} Restore the exercise, premise first.',
    "Given the reasoning, recover the pair of sentences it is about, with the question that was asked of them.\n\n"
    "Reasoning: {rationale}\nJudgment reached: {given}",
    'Make up an exercise in drawing inferences. Its solution should be "{given}", '
    "and its commentary the following.\n\n{rationale}",
    'Somebody replied "{given}" and remarked: {rationale} What had they been asked to decide?',
    'Use this observation to write a task on textual entailment with the answer "{given}": {rationale}',
)
