import pytest

from nas_spaces import ArchitectureError, published
from nas_spaces.darts_rnn import darts_rnn
from nas_spaces.recurrent_text import format_steps, read_steps, to_genotype

V2 = darts_rnn().steps(published.DARTS_V2_RNN)
TEXT, LITERAL = format_steps(V2), to_genotype(V2)


def test_both_forms_are_read_back() -> None:
    assert tuple(read_steps(TEXT, 8)) == tuple(read_steps(LITERAL, 8)) == V2
    assert tuple(read_steps(LITERAL.replace("range(1, 9)", "[1, 2, 3, 4, 5, 6, 7, 8]"), 8)) == V2
    assert tuple(read_steps(f"  {TEXT.replace('+', ' + ')} ", 8)) == V2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"at position 0 of '': expected '\|', found the end"),
        ("|elu~0|", "position 1 .* expected an activation, one of tanh, relu, sigmoid, identity, found 'elu~0|'"),
        ("|none~0|", "position 1 .* expected an activation"),
        ("|tanh~1|", "position 6 .* expected a predecessor of step 1, one of 0, found '1|'"),
        ("|tanh~0|+|tanh~2|", "position 15 .* a predecessor of step 2, one of 0, 1"),
        ("|tanh~0|", r"position 8 .* expected '\+', found the end"),
        (TEXT + "x", "expected the end, found 'x'"),
        (LITERAL.replace("'sigmoid', 0", "'none', 0"), r"pair 0 is \('none', 0\); expected \(activation, predecessor\)"),
        (LITERAL.replace("'sigmoid', 0", "'sigmoid', 1"), r"pair 0 is \('sigmoid', 1\); .* a predecessor of 0\."),
        (LITERAL.replace("('sigmoid', 0)", "7"), "pair 0 is 7"),
        (LITERAL.replace("('sigmoid', 0), ", ""), "position 19: expected a list of 8 pairs"),
        (LITERAL.replace("range(1, 9)", "range(2, 9)"), r"position \d+: expected range\(1, 9\), .* found range\(2, 9\)"),
        (LITERAL.replace("concat", "conc"), "takes the keywords recurrent, concat, not recurrent, conc"),
        (LITERAL[:-1], "is no Genotype.* at position"),
        ("Genotype(\0)", "is no Genotype"),
        ("Genotype(" + "[" * 400, "is no Genotype"),
        ("Genotype(recurrent={[]: 1}, concat=range(1, 9))", "expected a list of 8 pairs"),
        ("Genotype(recurrent=__import__('os').system('true'), concat=range(1, 9))", "expected a list of 8 pairs"),
        ("Genotypes", r"expected Genotype\(recurrent"),
    ],
)  # fmt: skip
def test_errors_name_the_position_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        read_steps(text, 8)
