from semdepth.evaluation import report


def test_transposing_turns_rows_into_columns() -> None:
    headings, rows = report.transposed(["", "a", "b"], [["x", "1", "2"], ["y", "3", "4"]])
    assert headings == ["", "x", "y"]
    assert rows == [["a", "1", "3"], ["b", "2", "4"]]
