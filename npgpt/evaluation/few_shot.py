"""Questions after no, one or a few examples in the prompt (Brown et al. 2020, arXiv 2005.14165)."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from npgpt.data.questions import Question
from npgpt.generation import continuation, sampling_with
from npgpt.models import LanguageModel
from npgpt.tokenizers import Tokenizer

Z = 1.959963984540054  # 95 per cent of a normal distribution are within so many deviations
LONGEST_ANSWER = 40  # tokens that are written


@dataclasses.dataclass(frozen=True)
class FewShotResult:
    """How many questions were answered rightly.

    Attributes
    ----------
    shots : int
        Examples in each prompt.
    right, questions : int
    cut : int
        Prompts that were too long for the context, so that their beginning was left out.
    """

    shots: int
    right: int
    questions: int
    cut: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / self.questions

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95 per cent confidence interval (Wilson 1927, J. Am. Stat. Assoc. 22).

        All shares ``q`` that are within 1.96 of their standard deviations ``sqrt(q (1 - q) / n)``
        of the measured one; unlike ``p +- 1.96 sqrt(p (1 - p) / n)`` it is right at 0 and 1 too.

        Examples
        --------
        >>> low, high = FewShotResult(shots=0, right=8, questions=10, cut=0).interval
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
        """
        n, p = self.questions, self.accuracy
        centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)


def chance(questions: Sequence[Question]) -> float:
    """Compute the chance level: the accuracy of answers that do not depend on the questions.

    One of the choices at random; where there are none, the answer that is right most often.

    Examples
    --------
    >>> chance([Question("row 1", "x", "a", ("a", "b")), Question("row 2", "y", "b", ("a", "b"))])
    0.5
    >>> chance([Question(f"row {i}", "x", answer) for i, answer in enumerate("aab")])
    0.6666666666666666
    """
    written = Counter(question.answer for question in questions if not question.choices)
    guessed = sum(1 / len(question.choices) for question in questions if question.choices)
    return (guessed + max(written.values(), default=0)) / len(questions)


def few_shot_prompt(question: Question, examples: Sequence[Question]) -> str:
    r"""Write examples with their answers, then the question.

    Parameters
    ----------
    question : Question
    examples : sequence of Question

    Examples
    --------
    >>> one = Question("row 1", "2 + 2", "4")
    >>> few_shot_prompt(Question("row 2", "3 + 4", "7"), [one])
    'Q: 2 + 2\nA: 4\n\nQ: 3 + 4\nA:'
    """
    shown = "".join(f"Q: {example.question}\nA: {example.answer}\n\n" for example in examples)
    return f"{shown}Q: {question.question}\nA:"


def draw_examples(
    questions: Sequence[Question], asked: int, shots: int, seed: int
) -> list[Question]:
    """Draw other questions as examples; more shots have those of fewer, and some before them.

    Parameters
    ----------
    questions : sequence of Question
    asked : int
        The index of the one that is asked, which is never an example.
    shots : int
        How many examples.
    seed : int

    Raises
    ------
    ValueError
        If there are too few.
    """
    if not 0 <= shots < len(questions):
        raise ValueError(
            f"{shots} shots need a task of at least {shots + 1} questions, and there are "
            f"{len(questions)}."
        )
    order = np.random.default_rng([seed, asked]).permutation(len(questions))
    others = [int(i) for i in order if i != asked]
    return [questions[i] for i in reversed(others[:shots])]


def evaluate_few_shot(
    model: LanguageModel,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    shots: int,
    seed: int = 0,
    limit: int | None = None,
    on_question: Callable[[], None] = lambda: None,
) -> FewShotResult:
    """Ask a model questions.

    With choices, the one of the highest log-likelihood a token is taken; without, the model writes
    a line, greedily, which must be the answer.

    Parameters
    ----------
    model : LanguageModel
    tokenizer : Tokenizer
    questions : sequence of Question
        Those that examples are drawn from, too.
    shots : int
        Examples in each prompt.
    seed : int
        Of the examples.
    limit : int, optional
        Ask the first ones only.
    on_question : function
        Called after each.
    """
    right, cut = 0, 0
    asked = questions[:limit]
    for i, question in enumerate(asked):
        prompt = few_shot_prompt(question, draw_examples(questions, i, shots, seed))
        ids = tokenizer.encode_prompt(prompt)
        answer = _choose if question.choices else _write
        answered, was_cut = answer(model, tokenizer, ids, question)
        right += answered == question.answer
        cut += was_cut
        on_question()
    return FewShotResult(shots, right, len(asked), cut)


def _choose(model, tokenizer, prompt_ids, question) -> tuple[str, bool]:
    context = model.context_length
    scores, longest = [], 0
    for choice in question.choices:
        ids = tokenizer.encode(f" {choice}")[:context]
        scores.append(model.log_likelihood(prompt_ids, ids) / len(ids))
        longest = max(longest, len(ids))
    return question.choices[int(np.argmax(scores))], len(prompt_ids) + longest > context + 1


def _write(model, tokenizer, prompt_ids, question) -> tuple[str, bool]:
    wanted = len(tokenizer.encode(f" {question.answer}\n"))
    room = model.context_length - min(wanted + 4, LONGEST_ANSWER)
    kept = prompt_ids[-max(1, room) :]
    sampling = sampling_with(tokenizer, model, temperature=0.0)
    new = model.stream(kept, min(wanted + 4, LONGEST_ANSWER), sampling)
    tokens = (int(token[0]) for token in new)
    line = continuation(tokens, tokenizer, sampling, kept).strip().split("\n")[0].strip()
    is_right = line == question.answer.strip()  # white space around a written answer is none of it
    return question.answer if is_right else line, len(kept) < len(prompt_ids)
