"""Chains of thought in science: two facts put together."""

from mixtures.cot.shared import cot_task, question_from

COT_QASC = cot_task(
    "qasc",
    cluster="cot_science",
    title="QASC",
    direct=(
        "{question}\n\nWhich letter, in brackets, stands before the right option?",
        "Science trivia. {question}\n\nLetter of the right option:",
        "Elementary science test. Mark one letter.\n\n{question}",
        "Which choice is correct? {question}",
        "{question}\n\nThe correct option is",
        "Answer from your knowledge of living things, matter and the earth. A letter is enough.\n\n{question}",
        "Eight options are given, and a single one is right.\n\n{question}\n\nWhich?",
        "You are grading a science quiz and need the key for this item: {question}",
        "{question}\n\n(Give the letter only.)",
        "Please help with my science homework. I only need to know which letter to circle.\n\n{question}",
    ),
    reasoning=(
        (
            "{question}\n\nJoin the scientific facts that you need, then choose.",
            "{rationale} So the answer is {answer}.",
        ),
        (
            "Let's reason from what science tells us.\n\n{question}",
            "{rationale} Therefore, the answer is {answer}.",
        ),
        (
            "Explain the science behind the question and end with a letter. {question}",
            "{rationale} That makes it clear that the answer is {answer}.",
        ),
        ("Item: {question}\n\nFacts, then letter:", "{rationale} The answer is {answer}."),
        (
            "{question}\n\nWhat do you know that helps here? Think aloud and then pick a letter.",
            "{rationale} Hence the answer is {answer}.",
        ),
        (
            "Two facts have to be combined to find the right option. Name both, combine them and answer.\n\n{question}",
            "{rationale} Together, these facts show that the answer is {answer}.",
        ),
        (
            "A curious pupil wants more than the letter. Give the explanation, too, before the letter.\n\n{question}",
            "{rationale} Thus the answer is {answer}.",
        ),
        (
            "Step-by-step reasoning is required for this science question: {question}",
            "{rationale} It follows that the answer is {answer}.",
        ),
        (
            "Which option can be proved? Prove it, then name it.\n\n{question}",
            "Proof: {rationale} The answer is {answer}.",
        ),
        (
            "{question}\n\nDo not answer at once; state the reasons that lead you there.",
            "{rationale} For these reasons, the answer is {answer}.",
        ),
    ),
)

COT_QASC_INVERTED = question_from(
    COT_QASC,
    "Facts: {rationale}\nLetter: {given}\nScience question with eight options:",
    "Write a science question with options from (A) to (H). Answering it takes these facts: {rationale} "
    "The right option has to be {given}.",
    "{rationale}\n\nA pupil wrote this down and circled {given}. What was the question, and what were the options?",
    "Which multiple-choice question on science is explained by the following, with {given} as the key? {rationale}",
    "Make a test item with eight lettered options out of this reasoning.\n\n{rationale}",
    "You have the solution to a quiz item but not the item itself. Write it anew, choices included.\n\n"
    "Solution: {rationale} Key: {given}",
    "Design a question for young scientists that can only be solved by putting two facts together: {rationale} "
    "Give it choices from (A) to (H), with the right one at {given}.",
    "Reconstruct the question, along with lettered choices, from its explanation.\n\n"
    "Explanation: {rationale} So it is {given}.",
    "Imagine the page of a science book where {given} is the answer and the margin says this: {rationale} "
    "Write out the exercise on that page.",
    "What multiple-choice question could make a class think along these lines and settle on {given}?\n\n{rationale}",
)
