"""What fine-tuning makes of its records: texts as they are, and those left out that teach nothing."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data.splits import TEST, TRAIN
from npgpt.finetuning import FineTuningConfig
from npgpt.finetuning.tasks import make_task
from npgpt.finetuning.templates import PROMPTS
from npgpt.tokenizers import BPETokenizer

TOKENIZER = BPETokenizer.train("name the thing ", 256 + 1)
CONTEXT = 600
GOOD = {
    "classify": [{"text": "a saw", "label": "tool"}, {"text": "a pear", "label": "fruit"}],
    "instruct": [{"instruction": "name it", "output": "saw"}],
    "dpo": [{"instruction": "name it", "chosen": "saw", "rejected": "pear"}],
}
EMPTY = ["", " ", "\n\t", "\u2028\u3000", None]
HALF = "\ud83d"
LONG = "word " * 200
FIELDS = [(task, name) for task, records in GOOD.items() for name in records[0]]
# what teaches nothing, as changes of a good record, and the reason that is given
BAD = [
    *((task, {name: value}, f"'{name}' is empty") for task, name in FIELDS for value in EMPTY),
    *((task, {name: HALF}, f"'{name}' holds half of a surrogate") for task, name in FIELDS),
    ("instruct", {"instruction": LONG}, "the prompt fills the context of 600"),
    ("instruct", {"input": LONG}, "the prompt fills the context of 600"),
    ("instruct", {"input": HALF}, "the prompt holds half of a surrogate"),
    ("dpo", {"instruction": LONG}, "the prompt fills the context of 600"),
    ("dpo", {"chosen": "same", "rejected": "same"}, "the rejected response are the same"),
]


def task_of(folder, task, records, **settings):
    path = folder / "records.json"
    path.write_text(json.dumps(records))
    return make_task(FineTuningConfig(task, "base", str(path), **settings), TOKENIZER, CONTEXT)


def kept(task):
    return sum(map(len, task.records.values()))


@pytest.mark.parametrize(("kind", "changes", "reason"), BAD)
def test_a_record_that_teaches_nothing_is_left_out_and_said_with_its_row(
    tmp_path, kind, changes, reason, caplog
):
    good = GOOD[kind] * 20
    bad = {**GOOD[kind][0], **changes}
    task = task_of(tmp_path, kind, [*good[:7], bad, *good[7:], bad])
    assert kept(task) == len(good)
    (sentence,) = task.left_out.sentences()
    assert sentence.startswith("2 records are left out because ")
    assert reason in sentence
    assert sentence.endswith(f"the first is {tmp_path}/records.json, record 8.")
    assert caplog.messages == [sentence]
    with pytest.raises(ValueError, match="record 8: "):
        task_of(tmp_path, kind, [*good[:7], bad, *good[7:]], strict=True)
    with pytest.raises(ValueError, match=r"no record is left.*3 records are left out because"):
        task_of(tmp_path, kind, [bad] * 3)


@pytest.mark.parametrize(("kind", "changes", "reason"), BAD[::3])
def test_records_to_test_on_are_left_out_too(tmp_path, kind, changes, reason):
    bad = {**GOOD[kind][0], **changes}
    tests = tmp_path / "tests.json"
    tests.write_text(json.dumps([bad, *GOOD[kind] * 3]))
    task = task_of(tmp_path, kind, GOOD[kind] * 20, test_data=str(tests))
    assert len(task.records[TEST]) == 3 * len(GOOD[kind])
    assert f"{tests}, record 1" in task.left_out.sentences()[0]
    tests.write_text(json.dumps([bad]))
    with pytest.raises(ValueError, match="no record is left"):
        task_of(tmp_path, kind, GOOD[kind] * 20, test_data=str(tests))


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_malformed_record_is_an_error_all_the_same(tmp_path, kind, name):
    for change in ({name: 3}, {name: ["a"]}):
        with pytest.raises(ValueError, match=f"record 3: .*'{name}' must be a text"):
            task_of(tmp_path, kind, [*GOOD[kind] * 2, {**GOOD[kind][0], **change}][-3:] * 3)
    without = {k: v for k, v in GOOD[kind][0].items() if k != name}
    with pytest.raises(ValueError, match=f"there is no '{name}'"):
        task_of(tmp_path, kind, [*GOOD[kind] * 9, without])


def test_alpacas_empty_outputs_do_not_refuse_its_file(tmp_path):
    """Stanford's alpaca_data.json has 28 of them among 52,002."""
    records = [{"instruction": f"say {i}", "input": "", "output": str(i)} for i in range(300)]
    for i in range(28):
        records[10 * i + 3]["output"] = ""
    task = task_of(tmp_path, "instruct", records)
    assert kept(task) == 272
    assert task.left_out.sentences() == [
        f"28 records are left out because 'output' is empty; the first is {tmp_path}/records.json, "
        "record 4."
    ]


EDGES = st.text(st.sampled_from(" \t\n\r\u2028\ufeffé"), max_size=4)
TEXTS = st.tuples(EDGES, st.sampled_from(["x", "if x:\n        return 1"]), EDGES).map("".join)


@given(TEXTS, TEXTS, TEXTS, st.sampled_from(sorted(PROMPTS)))
def test_what_is_learned_are_the_texts_exactly(tmp_path_factory, ask, given_, answer, template):
    folder = tmp_path_factory.getbasetemp()
    record = {"instruction": ask, "input": given_, "output": answer}
    task = task_of(folder, "instruct", [record] * 5, template=template)
    inputs, targets = task.parts[TRAIN].batch([0])
    whole = np.append(inputs[0], targets[0, -1])
    assert TOKENIZER.decode(whole[:-1]) == PROMPTS[template](ask, given_) + answer.rstrip(" ")
    assert whole[-1] == TOKENIZER.end_of_text_id
    assert TOKENIZER.decode(targets[0][targets[0] >= 0][:-1]) == answer.rstrip(" ")


@given(TEXTS, TEXTS, TEXTS)
def test_preferred_texts_are_learned_exactly(tmp_path_factory, ask, chosen, rejected):
    rejected += "."
    record = {"instruction": ask, "chosen": chosen, "rejected": rejected}
    task = task_of(tmp_path_factory.getbasetemp(), "dpo", [record] * 5)
    for side, text in ((task.parts[TRAIN].chosen, chosen), (task.parts[TRAIN].rejected, rejected)):
        targets = side.batch([0])[1][0]
        assert TOKENIZER.decode(targets[targets >= 0][:-1]) == text.rstrip(" ")


@given(TEXTS, st.text(" \t\n\u2028", max_size=3))
def test_texts_are_classified_exactly_and_labels_without_white_space(
    tmp_path_factory, text, around
):
    good = [{"text": text, "label": f"{around}tool{around}"}, {"text": "pear", "label": "fruit"}]
    task = task_of(tmp_path_factory.getbasetemp(), "classify", good * 5)
    assert task.labels == ["fruit", "tool"]
    texts = {TOKENIZER.decode(ids) for ids in task.parts[TRAIN].texts}
    assert texts <= {text, "pear"}
