# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Single changes of a Python source: cosmic-ray's operators, two of our own, and where each of them applies."""

from __future__ import annotations

import ast
import collections
from collections.abc import Iterator
from typing import Any, NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Name


class LeaveOut(Operator):
    """An assignment, or a call whose value nobody takes, becomes `pass`."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Inside functions: what runs at import is needed by every test."""
        if node.type == "simple_stmt" and node.search_ancestor("funcdef"):
            first = node.children[0]
            call = first.type in {"atom_expr", "power"} and first.get_last_leaf().value == ")"
            if call or first.type == "expr_stmt":
                yield first.start_pos, first.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """In place."""
        first = node.children[0]
        node.children[0] = Name("pass", first.start_pos, first.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None: those are for cosmic-ray's own tests."""
        return ()


class ReturnNone(LeaveOut):
    """A function returns nothing."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Each `return` with a value."""
        if node.type == "return_stmt":
            yield node.children[1].start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """In place."""
        node.children[1] = Name("None", node.children[1].start_pos, " ")
        return node


# Of cosmic-ray's operators the smallest change of each kind: `<` becomes `<=`, not `is`, which any test would notice.
CHANGES = {
    "ReplaceBinaryOperator": "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul BitAnd_BitOr BitOr_BitAnd",
    "ReplaceComparisonOperator": "Lt_LtE LtE_Lt Gt_GtE GtE_Gt Eq_NotEq NotEq_Eq Is_IsNot IsNot_Is",
    "ReplaceUnaryOperator": "Delete_Not Delete_USub Delete_Invert",
}
NAMES = [
    *("AddNot", "ExceptionReplacer", "NumberReplacer", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
    *("ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceFalseWithTrue", "ReplaceTrueWithFalse"),
    *(f"{kind}_{change}" for kind, changes in CHANGES.items() for change in changes.split()),
]
OPERATORS: dict[str, Operator] = {name: OperatorProvider()[name]() for name in NAMES}
OPERATORS |= {"LeaveOut": LeaveOut(), "ReturnNone": ReturnNone()}
ARITHMETIC = {"arith_expr", "term", "power", "expr", "and_expr"}  # parents of `*` that is not of a signature or a call


class Place(NamedTuple):
    """Where which operator can change a source; `occurrence` counts the operator's places in the file."""

    file: str
    operator: str
    occurrence: int
    line: int


def places(file: str, source: str) -> list[Place]:
    """All of a source; `file` is its name."""
    counts: collections.Counter[str] = collections.Counter()
    found = []
    for node in ast_nodes(get_ast(source)):
        meant = node.type != "operator" or node.parent.type in ARITHMETIC
        for name, operator in OPERATORS.items():
            for start, _ in operator.mutation_positions(node):
                found += [Place(file, name, counts[name], start[0])] if meant else []
                counts[name] += 1
    return found


def meaning(source: str) -> str | None:
    """What two sources have in common that do the same: annotations do nothing. None if it does not parse."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        for field in {"annotation", "returns"} & {*node._fields}:
            setattr(node, field, None)
    return ast.dump(tree)


def statement(source: str, line: int) -> tuple[set[int], bool]:
    """The lines of the statement about a line, without its block, and whether it runs at import."""
    lines, inside = {line}, False
    for node in ast.walk(ast.parse(source)):  # the outer ones first
        if isinstance(node, (ast.stmt, ast.excepthandler)) and node.lineno <= line <= (node.end_lineno or line):
            first, last = node.lineno, node.end_lineno or line
            if block := getattr(node, "body", None):
                last = max(first, block[0].lineno - 1)
                inside |= isinstance(node, ast.FunctionDef) and line >= block[0].lineno
            lines = {*range(first, last + 1)} if line <= last else {line}
    return lines, not inside


def mutant(place: Place, source: str) -> str | None:
    """The source with the change; None where that does nothing, or does not parse."""
    changed: str | None = mutate_code(source, OPERATORS[place.operator], place.occurrence)
    return None if changed is None or meaning(changed) in {None, meaning(source)} else changed
