"""How an instruction becomes a prompt."""

from __future__ import annotations

from npgpt.data.records import Record, text_field

ALPACA = (
    "Below is an instruction that describes a task{also}. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{instruction}\n\n{input}### Response:\n"
)
ALPACA_ALSO = ", paired with an input that provides further context"


def alpaca_prompt(instruction: str, input: str = "") -> str:
    """Write a prompt in the form of Stanford Alpaca (Taori et al. 2023, its repository's README).

    Examples
    --------
    >>> print(alpaca_prompt("Add the numbers.", "2 and 3"))  # doctest: +ELLIPSIS
    Below is an instruction ...
    <BLANKLINE>
    ### Instruction:
    Add the numbers.
    <BLANKLINE>
    ### Input:
    2 and 3
    <BLANKLINE>
    ### Response:
    <BLANKLINE>
    """
    also, shown = (ALPACA_ALSO, f"### Input:\n{input}\n\n") if input else ("", "")
    return ALPACA.format(also=also, instruction=instruction, input=shown)


def chat_prompt(instruction: str, input: str = "") -> str:
    r"""Write a prompt as the turn of a user, before that of an assistant.

    Examples
    --------
    >>> chat_prompt("Add the numbers.", "2 and 3")
    '<|user|>\nAdd the numbers.\n2 and 3\n<|assistant|>\n'
    """
    shown = f"{instruction}\n{input}" if input else instruction
    return f"<|user|>\n{shown}\n<|assistant|>\n"


PROMPTS = {"alpaca": alpaca_prompt, "chat": chat_prompt}


def prompt_of(record: Record, template: str) -> str:
    """Write the prompt of a record with ``instruction`` and an optional ``input``, as they are."""
    instruction = text_field(record, "instruction")
    context = text_field(record, "input", optional=True)
    return PROMPTS[template](instruction, context if context.strip() else "")
