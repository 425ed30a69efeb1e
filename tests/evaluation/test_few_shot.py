"""Questions after no, one or a few examples."""

import json

import pytest

from npgpt.data.questions import BUILT_IN_TASKS, Question, read_questions
from npgpt.evaluation.few_shot import (
    FewShotResult,
    draw_examples,
    evaluate_few_shot,
    few_shot_prompt,
)
from npgpt.models import GPT, GPTConfig
from npgpt.tokenizers import CharTokenizer

TOKENIZER = CharTokenizer.train("".join(map(chr, range(32, 127))) + "\n")
CHOICES = [Question(f"row {i}", f"{i} or {i + 1}", str(i), (str(i + 1), str(i))) for i in range(12)]


class Oracle(GPT):
    """Likes continuations that a function likes, and writes what another function writes."""

    def __init__(self, likes=None, writes=None, context_length=512):
        super().__init__(GPTConfig(TOKENIZER.vocab_size, context_length, 1, 1, 4))
        self.likes, self.writes, self.prompts = likes, writes, []

    def log_likelihood(self, prompt, continuation):
        self.prompts.append(TOKENIZER.decode(prompt))
        return self.likes(TOKENIZER.decode(prompt), TOKENIZER.decode(continuation))

    def stream(self, token_ids, max_new_tokens, sampling=None, **choices):
        prompt = TOKENIZER.decode(token_ids)
        self.prompts.append(prompt)
        yield from TOKENIZER.encode(self.writes(prompt))[:max_new_tokens, None]


def right(prompt, continuation):
    return -1.0 if prompt.rsplit("Q: ")[-1].startswith(continuation.strip() + " ") else -9.0


def test_the_likeliest_choice_a_token_is_taken():
    assert evaluate_few_shot(Oracle(right), TOKENIZER, CHOICES, 0).accuracy == 1.0
    assert evaluate_few_shot(Oracle(lambda p, c: -right(p, c)), TOKENIZER, CHOICES, 0).right == 0
    # -4 over 2 tokens is more a token than -3 over 1
    lengths = [Question("row 1", "x", "a", ("a", "")), Question("row 2", "y", "a", ("a", "b"))]
    longer = [Question(q.where, q.question, "aaa", ("aaa", "b")) for q in lengths]
    model = Oracle(lambda p, c: {" aaa": -4.0, " b": -3.0}[c])
    assert evaluate_few_shot(model, TOKENIZER, longer, 0).accuracy == 1.0


def test_a_written_answer_must_be_the_first_line():
    questions = [Question(f"row {i}", f"say {i}", f"it is {i}") for i in range(5)]

    def echo(prompt):
        return f" it is {prompt.rsplit('say ')[-1][0]}\nQ: more"

    assert evaluate_few_shot(Oracle(writes=echo), TOKENIZER, questions, 1).accuracy == 1.0
    assert evaluate_few_shot(Oracle(writes=lambda p: " no"), TOKENIZER, questions, 1).right == 0


@pytest.mark.parametrize("shots", [0, 1, 5, 11])
def test_examples_are_others_each_once_and_the_same_for_a_seed(shots):
    for asked in range(len(CHOICES)):
        drawn = draw_examples(CHOICES, asked, shots, seed=3)
        assert len(set(drawn)) == shots
        assert CHOICES[asked] not in drawn
        assert drawn == draw_examples(CHOICES, asked, shots, seed=3)
        assert drawn[-1:] == draw_examples(CHOICES, asked, 1, seed=3)[-shots:] or not shots
        prompt = few_shot_prompt(CHOICES[asked], drawn)
        assert prompt.count("Q: ") == shots + 1
        assert prompt.endswith("\nA:")
    with pytest.raises(ValueError, match="12 shots need a task of at least 13 questions"):
        draw_examples(CHOICES, 0, 12, seed=0)


def test_prompts_that_the_context_cuts_off_are_counted():
    model = Oracle(right, context_length=20)
    assert evaluate_few_shot(model, TOKENIZER, CHOICES, 0).cut == 0
    assert evaluate_few_shot(model, TOKENIZER, CHOICES, 3).cut == len(CHOICES)


def test_the_interval_is_wilsons():
    low, high = FewShotResult(0, 8, 10, 0).interval
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert FewShotResult(0, 0, 10, 0).interval[0] == 0.0
    assert FewShotResult(0, 10, 10, 0).interval[1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", BUILT_IN_TASKS)
@pytest.mark.slow
def test_built_in_tasks_have_an_answer_to_each_question(name):
    questions = read_questions(name)
    assert len(questions) == 200
    assert questions == read_questions(name)
    for question in questions:
        assert question.answer
        assert not question.choices or question.choices.count(question.answer) == 1
    assert bool(questions[0].choices) == (name == "signatures")


A = {"question": "x", "answer": "y"}
BAD = [
    ([A, {"question": "x"}], r"line 2: there is no 'answer'"),
    ([A, {**A, "answer": 2, "choices": ["a", "b"]}], r"line 2: 'answer' must be the number"),
    ([A, {**A, "answer": True, "choices": ["a", "b"]}], r"line 2: .* of a choice, .* got True"),
    ([A, {**A, "answer": 0, "choices": ["a"]}], r"line 2: 'choices' must be a list of at least"),
    ([A, {**A, "answer": 0, "choices": ["a", " "]}], r"line 2: 'choice' is empty"),
    ([A, {**A, "answer": 0, "choices": ["a", 3]}], r"line 2: 'choice' must be a text, got int"),
    ([A, {**A, "question": "\u3000"}], r"line 2: 'question' is empty"),
    ([A, {**A, "answer": 3}], r"line 2: 'answer' must be a text, got int"),
    ([A], "at least two questions"),
]


@pytest.mark.parametrize(("records", "message"), BAD)
def test_a_task_that_does_not_fit_is_refused_with_the_row(tmp_path, records, message):
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    with pytest.raises(ValueError, match=message):
        read_questions(path, strict=True)


def test_questions_with_an_empty_text_are_left_out_and_counted(tmp_path, caplog):
    empty = [
        {**A, "answer": " "},
        {**A, "question": None},
        {**A, "choices": ["a", ""], "answer": 0},
    ]
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in [A, *empty, A, {**A, "answer": ""}]))
    assert [q.where[-6:] for q in read_questions(path)] == ["line 1", "line 5"]
    assert "2 records are left out because 'answer' is empty; the first is" in caplog.text
    assert "1 record is left out because 'choice' is empty: " in caplog.text


def test_questions_are_asked_exactly_as_they_stand(tmp_path):
    code = {"question": "    if x:\n\treturn", "answer": "  1\n"}
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(code) + "\n" for _ in range(2)))
    question = read_questions(path)[0]
    assert (question.question, question.answer) == (code["question"], code["answer"])
