"""Chains of thought in reading: where a text holds the answer, and why that is the answer."""

from mixtures.cot.shared import cot_task, question_from

COT_QED = cot_task(
    "qed",
    cluster="cot_reading",
    title="QED",
    direct=(
        "{question}\n\nAnswer:",
        "{question}",
        "Answer the question from the information given.\n\n{question}",
        "Give a short answer, as brief as a name, a date or a phrase. {question}",
        "Find what is asked for in the passage and copy it out.\n\n{question}",
        "A reader wants a quick reply to this: {question}",
        "{question}\n\nThe information sought is",
        "Read with care, and then say in a few words what the text replies to the question.\n\n{question}",
        "I found this in a book. Please tell me what I want to know. {question}",
        "Extract the answer.\n\n{question}\n\nExtracted answer:",
    ),
    reasoning=(
        (
            "{question}\n\nPoint to the sentence that holds the answer before you give it.",
            "{rationale} So the answer is {answer}.",
        ),
        (
            "Which part of the text helps? Reason from there.\n\n{question}",
            "{rationale} Therefore, the answer is {answer}.",
        ),
        ("{question}\n\nEvidence from the passage, with the answer after it:", "{rationale} The answer is {answer}."),
        (
            "Explain how the text answers the question, then answer. {question}",
            "{rationale} Hence the answer is {answer}.",
        ),
        (
            "Let's go step by step: where does the text touch on the question, and what does it say there?\n\n{question}",
            "{rationale} Thus the answer is {answer}.",
        ),
        (
            "Careful readers link the words of a question to the words of a text. Do that, and finish with the answer."
            "\n\n{question}",
            "{rationale} This link shows that the answer is {answer}.",
        ),
        (
            "Prove from the source that your answer is right. The proof comes first. {question}",
            "Proof: {rationale} The answer is {answer}.",
        ),
        (
            "{question}\n\nThink about who or what each phrase refers to.",
            "{rationale} From this it is clear that the answer is {answer}.",
        ),
        (
            "I will only trust your answer if its derivation comes first.\n\n{question}",
            "{rationale} Consequently, the answer is {answer}.",
        ),
        (
            "What leads you to the answer? Tell me, and then tell me the answer.\n\n{question}",
            "{rationale} That is how I know that the answer is {answer}.",
        ),
    ),
)

COT_QED_INVERTED = question_from(
    COT_QED,
    "Evidence: {rationale}\nAnswer: {given}\nText and question:",
    'Write a short passage and a question on it. The question is answered with "{given}", and the answer is found '
    "like this: {rationale}",
    '{rationale}\n\nSo the answer is "{given}". What is the text, and what is the question?',
    'Which question, on which passage, did somebody answer with "{given}" after the following considerations? '
    "{rationale}",
    "Work backwards from this explanation to the passage and the question that it belongs to.\n\nExplanation: {rationale}",
    'For an item of a reading test we have the key, "{given}", and a note for the examiner: {rationale} '
    "The passage and the question have been lost. Write them anew.",
    'A reader argued as follows and arrived at the answer "{given}". Imagine the passage and the question.\n\n{rationale}',
    'Produce a piece of reading material with a question. The answer should be "{given}", for this reason: {rationale}',
    "Write the reading exercise, text and question, that goes with this solution.\n"
    "Derivation: {rationale}\nResult: {given}\nExercise:",
    "Someone explains an answer that they took from a text. Guess the text and what was asked about it.\n\n"
    "Their words: {rationale} The answer they gave: {given}",
)
