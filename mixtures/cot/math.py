"""Chains of thought in mathematics: word problems, and problems with lettered answers."""

from mixtures.cot.shared import cot_task, question_from

COT_GSM8K = cot_task(
    "gsm8k",
    cluster="cot_math",
    title="GSM8K",
    direct=(
        "{question}",
        "Math problem: {question}\n\nAnswer:",
        "Work out the result of this word problem and write it as a number only.\n\n{question}",
        "{question}\n\nWhat number is the answer?",
        "Here is an exercise from a school book. Give its solution as a number.\n\nExercise: {question}",
        "{question} State just the final figure.",
        "A pupil asks you to check the result of some homework. What should the result be?\n\nHomework: {question}",
        "Solve without showing your work: {question}",
        "Quick arithmetic, please. {question}\n\nThe answer, in digits:",
        "The following story contains everything that is needed to calculate one number.\n\n{question}\n\nThat number is",
    ),
    reasoning=(
        ("{question}\n\nThink step by step.", "{rationale} The answer is {answer}."),
        (
            "Solve the math problem and show each step of your work.\n\nProblem: {question}",
            "{rationale} So the answer is {answer}.",
        ),
        (
            "{question}\n\nReason first, and give the result at the end.",
            "{rationale} Therefore, the answer is {answer}.",
        ),
        (
            "How would you explain the solution to a classmate? {question}",
            "{rationale} Hence the answer is {answer}.",
        ),
        ("Question: {question}\nLet's work through it slowly.", "{rationale} This means that the answer is {answer}."),
        (
            "Write down every calculation that is needed before you state the answer.\n\n{question}",
            "{rationale} Thus the final answer is {answer}.",
        ),
        ("{question} I need the reasoning as well as the number.", "{rationale} In the end, the answer is {answer}."),
        (
            "Do not jump to the answer of this word problem; derive it.\n\n{question}\n\nDerivation:",
            "{rationale} The final answer is {answer}.",
        ),
        (
            "A full solution earns full marks: the steps, then the result.\n\n{question}",
            "Solution: {rationale} The answer is {answer}.",
        ),
        (
            "Take the numbers in this story one at a time and say what can be computed from them.\n\nStory: {question}",
            "{rationale} We conclude that the answer is {answer}.",
        ),
    ),
)

COT_GSM8K_INVERTED = question_from(
    COT_GSM8K,
    "Solution: {rationale} The answer is {given}.\n\nWrite the math problem that this solves.",
    "Which word problem has the answer {given} if the calculation goes like this? {rationale}",
    "A teacher has lost the text of an exercise but still has the worked solution. Restore the exercise.\n\n"
    "Worked solution: {rationale}\nResult: {given}",
    "{rationale}\n\nThat makes {given}. Which word problem has been solved here?",
    "Make up a story problem that is solved in these steps: {rationale}",
    "Result: {given}\nSteps: {rationale}\nProblem:",
    "Invent an arithmetic question whose answer is {given}. The reasoning that leads to it should be: {rationale}",
    "Here is what a pupil wrote in an exam: {rationale} The pupil's answer, {given}, was right. What had the exam asked?",
    "From the explanation, work back to the problem that is being explained.\n\n{rationale}",
    "I need a word problem for my class. Its solution has to read: {rationale} "
    "And the number at the end has to be {given}.",
)

COT_AQUA = cot_task(
    "aqua",
    cluster="cot_math",
    title="AQuA-RAT",
    direct=(
        "{question}\n\nAnswer with the letter in brackets.",
        "Multiple-choice math: {question}",
        "Select the right answer to this math question.\n\n{question}\n\nCorrect letter:",
        "The problem comes from an entrance test. Which letter should be marked?\n\n{question}",
        "{question}\n\nWhat is the correct choice?",
        "Find what is asked for and reply with the letter in front of it, nothing else.\n\n{question}",
        "You are taking a timed quantitative exam, so there is no time to show your work. {question}",
        "Only one of the options is right. Which? {question}",
        "Test item: {question}\nKey:",
        "Pick the answer.\n\n{question}",
    ),
    reasoning=(
        ("{question}\n\nShow your work before choosing a letter.", "{rationale} The answer is {answer}."),
        ("Let's solve this aptitude question step by step.\n\n{question}", "{rationale} So the answer is {answer}."),
        (
            "Explain how the right value is reached, and end with its letter.\n\n{question}",
            "{rationale} Therefore, the correct answer is {answer}.",
        ),
        ("Problem: {question}\n\nSolution, ending in a letter:", "{rationale} Hence, the answer is {answer}."),
        (
            "{question}\n\nFirst calculate, then compare with the choices given.",
            "{rationale} Among the choices given, the answer is {answer}.",
        ),
        (
            "Give the derivation and then the choice for this multiple-choice question in mathematics. {question}",
            "{rationale} That is why the answer is {answer}.",
        ),
        (
            "A tutor writes out model answers for practice tests. Write the one for this item.\n\n{question}",
            "{rationale} Consequently, the answer is {answer}.",
        ),
        (
            "Reason about the quantities involved, then answer.\n\n{question}",
            "{rationale} It follows that the answer is {answer}.",
        ),
        (
            "How can this be worked out, and which letter is right? {question}",
            "{rationale} The right answer is {answer}.",
        ),
        (
            "{question}\n\nThink it over carefully and justify the letter that you choose.",
            "{rationale} The final answer is {answer}.",
        ),
    ),
)

COT_AQUA_INVERTED = question_from(
    COT_AQUA,
    "{rationale} The answer is {given}.\n\nReconstruct the multiple-choice question, with all its options.",
    "Create a math question with five lettered values, of which {given} is right. The way to solve it is this: {rationale}",
    "Explanation: {rationale}\nCorrect letter: {given}\nTest item:",
    "An answer sheet gives the key {given} and the following note: {rationale} What was the item on the test, choices included?",
    "Write an aptitude question, lettered from (A) to (E), that someone would solve like this.\n\n{rationale}",
    "What problem is being solved here? State it together with five lettered values to choose from.\n\n{rationale}",
    "The working is complete, but the problem is missing. Supply it, along with lettered choices such that {given} "
    "is correct.\n\nWorking: {rationale}",
    "Turn this piece of working into an exam question with five choices, of which {given} is the one to mark: {rationale}",
    "Find a problem, and choices for it, that fit.\nKey: {given}\nSolution: {rationale}",
    "{rationale}\n\nYou have just read how somebody arrived at choice {given}. "
    "Which question, with which choices, were they looking at?",
)
