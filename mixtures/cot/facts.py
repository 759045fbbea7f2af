"""Chains of thought about facts: claims to check, and questions answered by putting facts together."""

from mixtures.cot.shared import cot_task, question_from

COT_CREAK = cot_task(
    "creak",
    cluster="cot_facts",
    title="CREAK",
    direct=(
        "{question}\n\nReply with a plain yes or no, please.",
        "{question}",
        "Fact check: {question}\n\nVerdict:",
        "Use general knowledge to judge the claim. Reply with a single word.\n\n{question}",
        "Without looking anything up, answer this. {question}",
        "{question}\n\nIs it yes, or is it no?",
        "A friend tells you something at dinner, and somebody asks you about it. What is your reply?\n\n{question}",
        'True claims get a "yes" and false ones a "no". {question}',
        "Decide quickly.\n\n{question}\n\nDecision:",
        "Here is a claim about a person, a place or a thing, with a question about the claim. {question}\n\nYour answer:",
    ),
    reasoning=(
        (
            "{question}\n\nRecall what you know about it first, then answer.",
            "{rationale} So the answer is {answer}.",
        ),
        ("Verify the claim step by step.\n\n{question}", "{rationale} Therefore, the answer is {answer}."),
        (
            "{question}\n\nAnswer yes or no, but only after giving your grounds.",
            "{rationale} On these grounds, the answer is {answer}.",
        ),
        (
            "As a fact checker, you publish the evidence before the verdict. {question}",
            "Evidence: {rationale} The answer is {answer}.",
        ),
        (
            "What fact supports or refutes the claim, and what follows from it? {question}",
            "{rationale} It follows that the answer is {answer}.",
        ),
        ("Think before you answer.\n\n{question}", "{rationale} The answer is {answer}."),
        (
            "Claim check with explanation.\n\n{question}\n\nExplanation, then yes or no:",
            "{rationale} Hence the answer is {answer}.",
        ),
        (
            "Somebody doubts your judgment, so begin with your reasoning.\n\n{question}",
            "{rationale} That is why the answer is {answer}.",
        ),
        (
            "Test the claim against common knowledge. State that knowledge, then your yes or no.\n\n{question}",
            "{rationale} Thus the answer is {answer}.",
        ),
        ("Let's consider what is known here. {question}", "{rationale} In view of this, the answer is {answer}."),
    ),
)

COT_CREAK_INVERTED = question_from(
    COT_CREAK,
    "Fact: {rationale}\n\nWrite a claim that this fact confirms or refutes, together with a yes-or-no question about "
    "it. The answer must be {given}.",
    "Answer: {given}\nBecause: {rationale}\nQuestion:",
    'Somebody was asked about a claim, answered "{given}" and gave this explanation: {rationale} How did the question go?',
    "{rationale}\n\nSo the answer was {given}. What was asked?",
    "Think up a claim, and a question about it that the following piece of knowledge settles: {rationale} "
    'The answer should be "{given}".',
    'A fact checker\'s note reads: {rationale} The verdict was "{given}". Restore the claim and the question about it.',
    "Set a yes-or-no question for a quiz. Correct answer: {given}. Explanation for the quiz master: {rationale}",
    'Work back from the verdict "{given}" and its grounds to the question.\n\nGrounds: {rationale}',
    'Make up a statement and ask whether it is true. Anyone who knows the following should be able to answer "{given}".\n\n{rationale}',
    'What statement might this text confirm or refute? Ask about it in such a way that the answer is "{given}".'
    "\n\nText: {rationale}",
)

COT_STRATEGYQA = cot_task(
    "strategyqa",
    cluster="cot_facts",
    title="StrategyQA",
    direct=(
        "{question}\n\nYes or no?",
        "Q: {question}\nA:",
        "Answer the question with yes or no. It may take some background knowledge.\n\n{question}",
        "{question}",
        "You will not find the answer to this in any book, but you can infer it: {question}",
        "Guess if you must, but say either yes or no. {question}",
        'In a radio quiz you have three seconds to reply "yes" or "no".\n\n{question}',
        "{question} Reply with one word.",
        "Combine what you know about the things mentioned, and give the bare answer.\n\nQuestion: {question}",
        'Is it so or not? {question}\n\nYour reply, "yes" or "no":',
    ),
    reasoning=(
        (
            "{question}\n\nWhich facts do you need? List them and then answer.",
            "{rationale} So the answer is {answer}.",
        ),
        ("Q: {question}\nA: Let's think step by step.", "{rationale} The answer is {answer}."),
        (
            "Break the question into smaller ones, answer those, and finish with yes or no.\n\n{question}",
            "{rationale} Therefore, the answer is {answer}.",
        ),
        ("{question} Tell me how you know.", "{rationale} Hence the answer is {answer}."),
        (
            "Answer the question, but lay out your reasoning beforehand. {question}",
            "{rationale} From this we see that the answer is {answer}.",
        ),
        (
            "What has to be true for the answer to be yes? Check it and decide.\n\n{question}",
            "{rationale} Thus the answer is {answer}.",
        ),
        (
            "The question calls for more than one piece of knowledge. Collect the pieces, then put them together.\n\n"
            "Question: {question}",
            "{rationale} Putting this together, the answer is {answer}.",
        ),
        ("Reasoning first, please.\n\n{question}", "{rationale} As a result, the answer is {answer}."),
        (
            "How would a detective get from known facts to an answer here? {question}",
            "{rationale} The conclusion is clear: the answer is {answer}.",
        ),
        (
            "{question}\n\nWrite a short argument that ends in yes or no.",
            "{rationale} Consequently, the answer is {answer}.",
        ),
    ),
)

COT_STRATEGYQA_INVERTED = question_from(
    COT_STRATEGYQA,
    "Facts: {rationale}\n\nAsk a yes-or-no question that can be answered from these facts taken together. "
    "The answer is {given}.",
    '{rationale} Whoever knows this can say "{given}" to a certain question. What is the question?',
    "Answer: {given}\nArgument: {rationale}\nQuestion behind the argument:",
    "Come up with a tricky yes-or-no question. To answer it, one has to know this: {rationale} "
    "The answer should turn out to be {given}.",
    'Which question makes somebody reason as follows and end with "{given}"?\n\n{rationale}',
    "From the facts that somebody put together, guess which yes-or-no question they were after.\n\n{rationale}",
    'A contestant said "{given}" and argued: {rationale} Give the host\'s question.',
    "Write a question whose answer has to be inferred from several facts instead of being looked up.\n\n"
    "Facts to use: {rationale}\nAnswer to reach: {given}",
    "Reverse this inference to find the yes-or-no question behind it. It ended in the answer {given} and went as follows. "
    "{rationale}",
    "Here is the explanation printed on the back of a quiz card: {rationale} "
    'The answer printed there is "{given}". What does the front of the card ask?',
)
